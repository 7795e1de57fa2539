# A text as documents, one a line, with \001 for the ends of their lines; every `held`-th goes to the file held_out, the
# others to the file training. Lines that begin with "Ge1:2 " or the like are verses: a chapter is a document, without
# those marks. Else a document is a run of paragraphs of at least 2000 characters.
#   awk -v held=20 -v training=FILE -v held_out=FILE -f documents.awk TEXT
function end_document() {
  if (document == "") return
  print document > (++count % held == 0 ? held_out : training)
  document = ""
}
{ gsub(/[\001\r]/, "") }
match($0, /^[0-9]?[A-Za-z]+[0-9]+:[0-9]+ /) {
  chapter = $1
  sub(/:.*/, "", chapter)
  if (chapter != last) end_document()
  last = chapter
  document = document substr($0, RLENGTH + 1) "\001"
  next
}
{
  document = document $0 "\001"
  if (length(document) >= 2000 && ($0 == "" || length(document) >= 3000)) end_document()
}
END { end_document() }
