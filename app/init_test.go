package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/app"
	"github.com/moneta-pay/moneta/config"
	"github.com/moneta-pay/moneta/internal/keyring"
)

func TestInitWritesSettingsThatServeTakes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "etc", "moneta.json")
	var said bytes.Buffer
	of := app.InitConfig{File: file, DSN: "postgres://moneta@db/moneta", Listen: "127.0.0.1:7070", SandboxURL: "http://127.0.0.1:7071", Out: &said}
	require.NoError(t, app.Init(of))

	got, err := config.Load(file)
	require.NoError(t, err)
	require.NoError(t, got.Validate())
	require.Equal(t, of.DSN, got.DSN)
	require.Len(t, got.Channels, len(app.SandboxBanks()))
	require.Contains(t, said.String(), got.Channels[0].Secrets[0], "the sandbox is started with the secret of its channels")
	require.Contains(t, said.String(), "moneta serve --config "+file)
	ring, err := keyring.Load(got.SecretsKeyFile)
	require.NoError(t, err)
	require.NotNil(t, ring)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds secrets")
	require.DirExists(t, got.StateDir)

	// Somebody's settings are never written over, nor is the key.
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	key, err := os.ReadFile(got.SecretsKeyFile)
	require.NoError(t, err)
	var exit *app.ExitError
	require.ErrorAs(t, app.Init(of), &exit)
	require.Contains(t, exit.Message, "--config")
	of.File = filepath.Join(filepath.Dir(file), "second.json")
	require.NoError(t, app.Init(of))
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after)
	same, err := os.ReadFile(got.SecretsKeyFile)
	require.NoError(t, err)
	require.Equal(t, key, same)
}

func TestInitRefusesWhatServeWouldRefuse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "moneta.json")
	require.ErrorContains(t, app.Init(app.InitConfig{File: file, Listen: "nowhere", Out: &bytes.Buffer{}}), "listen")
	require.NoFileExists(t, file)
	var said strings.Builder
	require.NoError(t, app.Init(app.InitConfig{File: file, Listen: "127.0.0.1:7070", Lang: "zh", Out: &said}))
	require.Contains(t, said.String(), "MONETA_DSN", "without a database it says how to name one")
}
