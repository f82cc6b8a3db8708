// Where the web knows more of a gene. Plain links: nothing is asked before a reader follows one.

/** Name and address of each place; those that know human genes alone are left out for other species. */
export function placesOf(symbol: string, ensembl: string): [string, string][] {
  const [bare, asked] = [ensembl.replace(/\.\d+$/, ""), encodeURIComponent(symbol)];
  const human = !bare || bare.startsWith("ENSG0");
  return [
    ["Ensembl", bare ? `https://www.ensembl.org/id/${encodeURIComponent(bare)}` : `https://www.ensembl.org/Multi/Search/Results?q=${asked}`],
    ...(human ? [["GeneCards", `https://www.genecards.org/cgi-bin/carddisp.pl?gene=${asked}`] as [string, string]] : []),
    ["UniProt", `https://www.uniprot.org/uniprotkb?query=${encodeURIComponent(`gene:${symbol}${human ? " AND organism_id:9606" : ""}`)}`],
  ];
}
