package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor/prove"
)

// The console shows a proof as genuine only if the key signed these bytes.
func TestTheConsoleVerifiesProofs(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	folder := filepath.Join(doctorFolder(data), proofsFolder)
	require.NoError(t, os.MkdirAll(folder, 0o700))
	mux := http.NewServeMux()
	w := &watch{cfg: WatchConfig{DataDir: data}}
	w.booksRoutes(mux)
	look := func() (out KeptProofs) {
		t.Helper()
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/look/books/proofs", http.NoBody))
		require.Equal(t, http.StatusOK, rec.Code)
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &out))
		return out
	}
	require.Equal(t, KeptProofs{Proofs: []KeptProof{}}, look(), "nothing was proved yet")

	key, _, err := prove.Key(filepath.Clean(data) + "-prove.key")
	require.NoError(t, err)
	proof, err := prove.Sign(prove.Result{Format: "moneta.proof/1", At: "2026-11-22T10:00:00Z", Verdict: prove.Clean, SHA256: "abc"}, key)
	require.NoError(t, err)
	path := filepath.Join(folder, "one.json")
	require.NoError(t, os.WriteFile(path, proof, 0o600))
	got := look()
	require.NotEmpty(t, got.Key)
	require.Len(t, got.Proofs, 1)
	require.True(t, got.Proofs[0].Genuine, got.Proofs[0].Why)
	require.Equal(t, prove.Clean, got.Proofs[0].Verdict)

	proof[len(proof)/3] ^= 1
	require.NoError(t, os.WriteFile(path, proof, 0o600))
	forged := look().Proofs[0]
	require.False(t, forged.Genuine)
	require.NotEmpty(t, forged.Why)
	require.Empty(t, forged.Verdict, "what nobody signed says nothing")
}
