#!/bin/sh
# Makes an authority and a certificate for each service, for trying things out: they are good for 30
# days, and their keys lie beside them. Writes into `certificates/` beside this file.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p certificates
cd certificates
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
  -subj "/CN=Try it out" -keyout ca.key -out ca.pem 2>/dev/null
for name in orders stock; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
    -keyout "$name.key" -out "$name.csr" 2>/dev/null
  printf 'subjectAltName=DNS:%s.test\nextendedKeyUsage=serverAuth,clientAuth\n' "$name" > "$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
    -extfile "$name.ext" -out "$name.crt" 2>/dev/null
  # The certificate, its chain and its key, in one file.
  cat "$name.crt" ca.pem "$name.key" > "$name.pem"
  rm "$name.csr" "$name.ext"
done
