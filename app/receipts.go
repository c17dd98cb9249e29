package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/pay/receipt"
)

// receiptsKeyFileEnv is where serve finds the file of the keys of receipts.
const receiptsKeyFileEnv = "MONETA_RECEIPTS_KEY_FILE"

// signing is what a process signs receipts with. It reads the key file once: the next
// life of a process begins while the database fails over, which is no time to meet a
// file that somebody is changing.
type signing struct {
	wanted bool            // a key file is configured
	signer *receipt.Signer // nil when it could not be read
}

// receiptsSigning reads the configured key file. One that cannot be read stops receipts
// and not the process, because money does not need them.
func receiptsSigning(ctx context.Context, cfg *config.Config, log *slog.Logger) signing {
	out := signing{wanted: cfg.ReceiptsKeyFile != ""}
	if !out.wanted {
		return out
	}
	var err error
	if out.signer, err = receipt.LoadSigner(cfg.ReceiptsKeyFile); err != nil {
		log.ErrorContext(ctx, "this process signs no receipts: mend receipts_key_file, then start it again", slog.Any("error", err))
	}
	return out
}

func receiptsKeyPath(dataDir string) string { return filepath.Join(dataDir, "receipts.key") }

// ensureReceiptsKey makes the key file of up, unless one is configured. It returns what
// the environment of serve needs.
func ensureReceiptsKey(dataDir string, log *slog.Logger) ([]string, error) {
	if os.Getenv(receiptsKeyFileEnv) != "" {
		return nil, nil
	}
	path := receiptsKeyPath(dataDir)
	switch err := receipt.MakeKey(path); {
	case err == nil:
		log.Info("made a key that signs receipts; keep a copy elsewhere: without it receipts are signed by another one after a restore", slog.String("file", path))
	case !errors.Is(err, os.ErrExist):
		return nil, err
	}
	return []string{receiptsKeyFileEnv + "=" + path}, nil
}

// admitWithin bounds the look at the keys of other nodes when serve starts.
const admitWithin = 5 * time.Second

// newIssuer makes the station, and says at once if this node may not sign: nobody shall
// learn it from a customer. Money does not wait for it.
func (p *plane) newIssuer() *receipt.Issuer {
	if !p.signing.wanted {
		return nil
	}
	out := receipt.NewIssuer(p.reads, p.signing.signer)
	ctx, cancel := context.WithTimeout(context.Background(), admitWithin)
	defer cancel()
	if err := out.Admit(ctx); err != nil && p.signing.signer != nil {
		p.log.ErrorContext(ctx, "this node signs no receipts for now", slog.Any("error", err))
	}
	p.tel.GaugeFunc("moneta_receipts_unsigned", "1 while this node signs no receipts although it has a key file; /readyz says why.", func() float64 {
		if out.Trouble() != "" {
			return 1
		}
		return 0
	})
	return out
}
