package app

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/config"
)

// The first start makes a key for its owner's eyes and says so; the next one takes it;
// a configured one wins.
func TestUpMakesAKeyOnce(t *testing.T) {
	t.Setenv(secretsKeyFileEnv, "")
	t.Setenv(secretsKeysEnv, "")
	dir := t.TempDir()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	env, err := ensureSecretsKey(dir, logger)
	require.NoError(t, err)
	path := filepath.Join(dir, "secrets.key")
	require.Equal(t, []string{"MONETA_SECRETS_KEY_FILE=" + path}, env)
	require.Contains(t, log.String(), path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	first, err := secretsRing(&config.Config{SecretsKeyFile: path})
	require.NoError(t, err)
	log.Reset()
	_, err = ensureSecretsKey(dir, logger)
	require.NoError(t, err)
	require.Empty(t, log.String())
	again, err := secretsRing(&config.Config{SecretsKeyFile: path})
	require.NoError(t, err)
	require.Equal(t, first.Newest(), again.Newest())

	t.Setenv(secretsKeyFileEnv, "/elsewhere")
	env, err = ensureSecretsKey(t.TempDir(), logger)
	require.NoError(t, err)
	require.Empty(t, env, "serve inherits the configured one")
	_, err = secretsRing(&config.Config{SecretsKeyFile: "/elsewhere"})
	require.ErrorContains(t, err, "secrets_key_file")
	_, err = secretsRing(&config.Config{SecretsKeys: "x"})
	require.ErrorContains(t, err, secretsKeysEnv)
	ring, err := secretsRing(&config.Config{SecretsKeys: base64.StdEncoding.EncodeToString(make([]byte, 32))})
	require.NoError(t, err)
	require.NotNil(t, ring)
	none, err := secretsRing(&config.Config{})
	require.NoError(t, err)
	require.Nil(t, none)
}
