package app

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/keyring"
)

// Where serve finds the keys that seal secrets in the database.
const (
	secretsKeyFileEnv = "MONETA_SECRETS_KEY_FILE"
	secretsKeysEnv    = "MONETA_SECRETS_KEYS"
)

// secretsRing reads the configured keys; nil when there are none.
func secretsRing(cfg *config.Config) (*keyring.Ring, error) {
	switch {
	case cfg.SecretsKeys != "":
		ring, err := keyring.Parse([]byte(cfg.SecretsKeys))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", secretsKeysEnv, err)
		}
		return ring, nil
	case cfg.SecretsKeyFile != "":
		ring, err := keyring.Load(cfg.SecretsKeyFile)
		if err != nil {
			return nil, fmt.Errorf("secrets_key_file: %w", err)
		}
		return ring, nil
	}
	return nil, nil //nolint:nilnil // no keys are no error: secrets are kept in clear, and serve says so
}

func secretsKeyPath(dataDir string) string { return filepath.Join(dataDir, "secrets.key") }

// ensureSecretsKey makes the key file of up, beside the folder of its Postgres, unless
// keys are configured. It returns what the environment of serve needs.
func ensureSecretsKey(dataDir string, log *slog.Logger) ([]string, error) {
	if os.Getenv(secretsKeyFileEnv) != "" || os.Getenv(secretsKeysEnv) != "" {
		return nil, nil
	}
	path := secretsKeyPath(dataDir)
	switch err := keyring.Make(path); {
	case err == nil:
		log.Info("made a key that seals secrets in the database; keep a copy elsewhere: without it they cannot be read after a restore", slog.String("file", path))
	case !errors.Is(err, os.ErrExist):
		return nil, err
	}
	return []string{secretsKeyFileEnv + "=" + path}, nil
}
