package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzLoad: a file is taken whole or refused, and what is taken can be judged.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"dsn":"host=/x"}`, `{"dsn":"host=/x"} {"listen":"0.0.0.0:1"}`, `{"channels":[{"name":"bank-ab","adapter":"sandbox","base_url":"http://x","secrets":["s"]}],"routes":[{}]}`,
		`{"guard":{"CZK":{"confirm_above":"x"}}}`, `{"callbacks":{"keep_days":-1}}`, `{"dns":1}`, `[]`, ``, `{"deposit_hours":1e9}`, `{"desk":{"kinds":{"break":{"within_minutes":-5}}}}`,
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(dir, "moneta.json")
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		c, err := Load(path)
		if err != nil {
			require.ErrorContains(t, err, "configuration")
			return
		}
		_ = c.Validate() // whatever it says, it says it
	})
}
