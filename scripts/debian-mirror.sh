#!/bin/sh
# Prints the URI of the Debian archive that this machine's own apt sources name for Debian 12, from either format of
# apt's source lists. Fails, saying nothing, when there is none.
set -eu

cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '
    $1 == "URIs:" { uri = $2 } $1 == "Suites:" && $2 == "bookworm" { suite = 1 }
    /^[[:space:]]*$/ { if (suite && uri != "") { print uri; exit } uri = ""; suite = 0 }
    END { if (suite && uri != "") print uri }' | head -n 1 | grep . && exit
cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '
    $1 == "deb" { for (i = 2; i < NF; i++) if ($i ~ /:\/\// && $(i + 1) == "bookworm") { print $i; exit } }' | grep .
