FUZZ += stream image page_chunk
