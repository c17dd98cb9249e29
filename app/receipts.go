package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/pay/receipt"
)

// receiptsKeyFileEnv is where serve finds the file of the keys of receipts.
const receiptsKeyFileEnv = "MONETA_RECEIPTS_KEY_FILE"

// receiptsSigner reads the configured key file; nil when there is none.
func receiptsSigner(cfg *config.Config) (*receipt.Signer, error) {
	if cfg.ReceiptsKeyFile == "" {
		return nil, nil //nolint:nilnil // no keys are no error: no receipts are signed, and who asks for one is told
	}
	s, err := receipt.LoadSigner(cfg.ReceiptsKeyFile)
	if err != nil {
		return nil, fmt.Errorf("receipts_key_file: %w", err)
	}
	return s, nil
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

// receipts makes the station, and says at once if this node may not sign: nobody shall
// learn it from a customer. Money does not wait for it.
func (p *plane) receipts() *receipt.Issuer {
	if p.signer == nil {
		return nil
	}
	out := receipt.NewIssuer(p.reads, p.signer)
	ctx, cancel := context.WithTimeout(context.Background(), admitWithin)
	defer cancel()
	if err := out.Admit(ctx); err != nil {
		p.log.ErrorContext(ctx, "this node signs no receipts for now", slog.Any("error", err))
	}
	return out
}
