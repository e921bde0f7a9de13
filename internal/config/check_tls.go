package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxPEM is far above a system's bundle of authorities.
const maxPEM = 16 << 20

// certificates reads the files of [cluster.tls]: a wrong path is found before
// anything is started, and at its line.
func (k *checker) certificates(t *TLS) {
	if pem := k.pem("ca_file", t.CAFile); pem != nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
		k.fail(path("cluster", "tls", "ca_file"), fmt.Sprintf("cluster.tls.ca_file: file %q holds no certificate in PEM form", t.CAFile),
			"it begins with -----BEGIN CERTIFICATE-----")
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return
	}
	cert, key := k.pem("cert_file", t.CertFile), k.pem("key_file", t.KeyFile)
	if cert == nil || key == nil {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		k.fail(path("cluster", "tls", "cert_file"), fmt.Sprintf("cluster.tls.cert_file: file %q with key_file %q: %v", t.CertFile, t.KeyFile, err),
			"both are PEM, the key that of the certificate")
	}
}

// pem returns the file's content, nil where there is none to judge: what is no
// regular file may be read only once.
func (k *checker) pem(key, name string) []byte {
	if name == "" {
		return nil
	}
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil
	}
	var text []byte
	if err == nil {
		text, err = readAtMost(name, maxPEM+1)
	}
	if len(text) > maxPEM {
		err = fmt.Errorf("it is larger than %v", Size(maxPEM))
	}
	if err == nil {
		return text
	}
	what := fmt.Sprintf("file %q cannot be read: %v", name, err)
	if errors.Is(err, fs.ErrNotExist) {
		what = fmt.Sprintf("file %q does not exist", name)
	}
	k.fail(path("cluster", "tls", key), fmt.Sprintf("cluster.tls.%s: %s", key, what), k.relative())
	return nil
}

// relative tells where the paths start that anchor has changed, or has not seen.
func (k *checker) relative() string {
	if k.Source == nil { // built in Go
		return "relative paths start at the working directory"
	}
	return "relative paths start at the folder of the configuration"
}
