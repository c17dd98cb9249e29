package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "moneta.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAMissingFieldMeansTheDefault(t *testing.T) {
	t.Parallel()
	c, err := Load(file(t, `{"dsn": "host=/x"}`))
	require.NoError(t, err)
	require.NoError(t, c.Validate())
	require.Equal(t, DefaultListen, c.Listen)
	require.Equal(t, "http://"+DefaultListen, c.NodeURL)
}

func TestEveryWrongSettingIsNamed(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Listen, c.LogFormat, c.TraceOneIn = "7070", "xml", -1
	c.DocsURL, c.PublicURL = "pay.example/", "ftp://pay.example"
	c.SecretsKeyFile, c.SecretsKeys = "/k", "k"
	c.Callbacks = Callbacks{KeepDays: -1, UnverifiedKBPerHour: 1}
	c.Channels = []Channel{{Name: "a", Adapter: "carrier-pigeon", BaseURL: "nowhere"}, {Name: "a", Adapter: "sandbox", BaseURL: "http://x", Secrets: []string{"1", "2", "3"}}}
	err := c.Validate()
	for _, name := range []string{
		"dsn", "listen", "log_format", "trace_one_in", "docs_url", "public_url", "secrets_key_file", "callbacks.keep_days", "callbacks.unverified_kb_per_hour",
		"channels[0].adapter", "channels[0].base_url", "channels[0].secrets", "channels[1].name", "channels[1].secrets",
	} {
		require.ErrorContains(t, err, name)
	}
}

func TestUnknownFieldsAndMissingFilesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := Load(file(t, `{"dns": "host=/x"}`))
	require.ErrorContains(t, err, "dns")
	_, err = Load(file(t, `{"dsn": "host=/x"} {"listen": "0.0.0.0:7070"}`))
	require.ErrorContains(t, err, "something follows")
	_, err = Load(filepath.Join(t.TempDir(), "none.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSandboxChannels(t *testing.T) {
	t.Parallel()
	c := Default()
	c.DSN, c.Channels = "host=/x", SandboxChannels("http://127.0.0.1:7071", "secret", []string{"AB", "CD"})
	require.NoError(t, c.Validate())
	require.Equal(t, "bank-ab", c.Channels[0].Name)
}

// The test of a channel makes orders: its endpoint is no channel's own, however it is
// written.
func TestATestEndpointIsNobodysOwn(t *testing.T) {
	t.Parallel()
	of := func(test string) error {
		c := Default()
		c.DSN = "host=/x"
		c.Channels = []Channel{
			{Name: "a", Adapter: "sandbox", BaseURL: "https://bank.example/pay", TestURL: test, Secrets: []string{"s"}},
			{Name: "b", Adapter: "sandbox", BaseURL: "http://127.0.0.1:80", Secrets: []string{"s"}},
		}
		return c.Validate()
	}
	for _, live := range []string{
		"https://bank.example/pay", "https://bank.example/pay/", "https://bank.example:443/pay", "HTTPS://Bank.Example/pay", "https://bank.example./pay",
		"https://bank.example//pay", "https://bank.example/x/../pay", "https://bank.example/p%61y", "https://u:p@bank.example/pay?x=1#y", "https://bank.example:0443/pay",
		"http://127.0.0.1", "http://127.0.0.1:80/", "http://[::ffff:127.0.0.1]/",
	} {
		require.ErrorContains(t, of(live), "channels[0].test_url", live)
	}
	for _, test := range []string{"", "https://bank.example/pay/test", "https://bank.example:8443/pay", "https://test.bank.example/pay", "https://bank.example/Pay", "http://127.0.0.1:8080"} {
		require.NoError(t, of(test), test)
	}
}
