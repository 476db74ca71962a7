#!/bin/sh
# Makes the documents of this folder anew with the programs that README.md names. Tests never run this.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
print="chromium --headless --no-sandbox --disable-gpu --no-pdf-header-footer"
office="soffice --headless --norestore -env:UserInstallation=file://$work/profile"

pdflatex -output-directory "$work" -interaction batchmode sources/article.tex
cp "$work/article.pdf" latex-columns.pdf
$print --print-to-pdf="$PWD/browser-languages.pdf" "file://$PWD/sources/languages.html"
for format in docx odt; do
  $office --convert-to odt:writer8 --outdir "$work" --infilter="HTML (StarWriter)" sources/office.html
  $office --convert-to "$format" --outdir "$work" "$work/office.odt"
  cp "$work/office.$format" "libreoffice.$format"
done
$office --convert-to pdf --outdir "$work" "$work/office.odt"
cp "$work/office.pdf" libreoffice.pdf
python3 sources/write.py .
$office --convert-to xlsx:"Calc MS Excel 2007 XML" --outdir "$work" openpyxl.xlsx
cp "$work/openpyxl.xlsx" libreoffice.xlsx
qpdf --encrypt secret owner 256 -- latex-columns.pdf encrypted.pdf
