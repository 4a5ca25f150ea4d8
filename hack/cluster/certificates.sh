# Sourced: the cluster's certificates and kubeconfigs, made once by openssl and valid for ten years.

make_authority() { # NAME
  [ -s "$PKI/$1.crt" ] && return
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=tunewright-$1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$PKI/$1.key" -out "$PKI/$1.crt.new" 2>/dev/null
  mv "$PKI/$1.crt.new" "$PKI/$1.crt"
}

issue() { # AUTHORITY NAME SUBJECT USAGES [ALTERNATIVE-NAMES]
  [ -s "$PKI/$2.crt" ] && return
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$3" \
    -keyout "$PKI/$2.key" -out "$PKI/$2.csr" 2>/dev/null
  {
    echo "basicConstraints=critical,CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$4"
    if [ -n "${5:-}" ]; then echo "subjectAltName=$5"; fi
  } >"$PKI/$2.ext"
  openssl x509 -req -in "$PKI/$2.csr" -CA "$PKI/$1.crt" -CAkey "$PKI/$1.key" -set_serial "0x$(openssl rand -hex 12)" \
    -days 3650 -extfile "$PKI/$2.ext" -out "$PKI/$2.crt.new" 2>/dev/null
  mv "$PKI/$2.crt.new" "$PKI/$2.crt"
  rm -f "$PKI/$2.csr" "$PKI/$2.ext"
}

make_kubeconfig() { # NAME: the client certificate of that name, embedded, so that the file can be copied
  cat >"$ETC/$1.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters:
  - name: tunewright
    cluster:
      server: $API_URL
      certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 "$PKI/$1.crt")
      client-key-data: $(base64 -w0 "$PKI/$1.key")
contexts:
  - name: tunewright
    context: {cluster: tunewright, user: $1}
current-context: tunewright
EOF
}

make_certificates() {
  local name old_mask
  old_mask=$(umask)
  umask 077
  mkdir -p "$PKI" "$ETC"
  # Three authorities: etcd and the front proxy must not trust what may speak to the API server.
  for name in ca etcd-ca front-proxy-ca; do make_authority "$name"; done
  if [ ! -s "$PKI/service-account.pub" ]; then
    openssl genrsa -out "$PKI/service-account.key" 2048 2>/dev/null
    openssl rsa -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub" 2>/dev/null
  fi
  local api_names="DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  api_names+=",DNS:kubernetes.default.svc.$CLUSTER_DOMAIN,IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP"
  issue etcd-ca etcd /CN=etcd serverAuth,clientAuth DNS:localhost,IP:127.0.0.1
  issue etcd-ca etcd-client /CN=kube-apiserver clientAuth
  issue front-proxy-ca front-proxy-client /CN=front-proxy-client clientAuth
  issue ca apiserver /CN=kube-apiserver serverAuth "$api_names"
  issue ca kubelet-server "/CN=$NODE" serverAuth "DNS:$NODE,IP:$NODE_IP"
  issue ca apiserver-to-kubelet /CN=kube-apiserver-kubelet-client clientAuth
  issue ca admin /O=system:masters/CN=admin clientAuth
  issue ca kubelet "/O=system:nodes/CN=system:node:$NODE" clientAuth
  issue ca kube-controller-manager /CN=system:kube-controller-manager clientAuth
  issue ca kube-scheduler /CN=system:kube-scheduler clientAuth
  issue ca kube-proxy /CN=system:kube-proxy clientAuth
  issue ca coredns /CN=system:coredns clientAuth
  for name in admin kubelet kube-controller-manager kube-scheduler kube-proxy coredns; do make_kubeconfig "$name"; done
  umask "$old_mask"
}
