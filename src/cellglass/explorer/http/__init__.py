"""What a live server is made of: answers with files, JSON replies, and who may ask. Knows of no atlas."""
