def markdown(*a): return ""
