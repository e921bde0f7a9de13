package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/klamm-io/klamm/internal/config"
)

// TLSConfig returns nil where TLS is off. Settings that would then be ignored
// are refused: the user believes that the connection is protected.
func TLSConfig(t *config.TLS) (*tls.Config, error) {
	if !t.Enabled {
		if t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "" || t.InsecureSkipVerify {
			return nil, errors.New("[cluster.tls] has settings but enabled is not true: set enabled = true, or remove them")
		}
		return nil, nil
	}
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify,
	}
	var errs []error
	if t.CAFile != "" {
		pool, err := loadCA(t.CAFile)
		errs = append(errs, err)
		c.RootCAs = pool
	}
	switch {
	case t.CertFile != "" && t.KeyFile != "":
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("[cluster.tls] cert_file %q with key_file %q: %w", t.CertFile, t.KeyFile, err))
		}
		c.Certificates = []tls.Certificate{cert}
	case t.CertFile != "" || t.KeyFile != "":
		errs = append(errs, errors.New("[cluster.tls] cert_file and key_file go together: set both or none"))
	}
	return c, errors.Join(errs...)
}

func loadCA(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("[cluster.tls] ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("[cluster.tls] ca_file %q holds no certificate in PEM form", path)
	}
	return pool, nil
}
