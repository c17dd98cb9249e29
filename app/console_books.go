package app

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor/prove"
)

// proofsShown bounds how many proofs one answer verifies.
const proofsShown = 10

// booksRoutes is what the screens of the books ask beyond the API: the recounts that the
// doctor keeps. Any operator may, from viewer on.
func (w *watch) booksRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/look/books/proofs", w.lookProofs)
}

// KeptProof is a recount that lies in the doctor's folder, verified just now with the
// public key beside the data folder.
type KeptProof struct {
	File string `json:"file"`
	// Genuine is whether the key signed it as it is; Why says why not.
	Genuine bool   `json:"genuine"`
	Why     string `json:"why,omitempty"`
	// At is the snapshot's instant; SHA256 is over every row that was counted.
	At         string        `json:"at,omitempty"`
	Verdict    prove.Verdict `json:"verdict,omitempty"`
	FaultCount int64         `json:"fault_count"`
	TookMS     int64         `json:"took_ms"`
	SHA256     string        `json:"sha256,omitempty"`
	Assets     []prove.Asset `json:"assets"`
	Checks     []prove.Check `json:"checks"`
	NotProved  []string      `json:"not_proved"`
}

// KeptProofs are the newest proofs, the newest first.
type KeptProofs struct {
	// Key is the file of the public key; empty while nothing was ever proved.
	Key    string      `json:"key"`
	Proofs []KeptProof `json:"proofs"`
}

func (w *watch) lookProofs(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, keptProofs(filepath.Join(doctorFolder(w.cfg.DataDir), proofsFolder), (&ProveConfig{Database: Database{DataDir: w.cfg.DataDir}}).keyPath()+".pub"))
}

// keptProofs verifies the newest files of a folder. What cannot be read is named, not
// left out: a proof that was tampered with must be seen.
func keptProofs(folder, keyFile string) KeptProofs {
	out := KeptProofs{Proofs: []KeptProof{}}
	public, err := prove.ReadPublic(keyFile)
	if err == nil {
		out.Key = keyFile
	}
	for _, path := range newestFiles(folder, proofsShown) {
		out.Proofs = append(out.Proofs, keptProof(path, public))
	}
	return out
}

func keptProof(path string, public ed25519.PublicKey) KeptProof {
	k := KeptProof{File: filepath.Base(path), Assets: []prove.Asset{}, Checks: []prove.Check{}, NotProved: []string{}}
	if public == nil {
		k.Why = "there is no public key to verify it with"
		return k
	}
	r, err := prove.VerifyFile(path, public)
	if err != nil {
		k.Why = err.Error()
		if errors.Is(err, prove.ErrForged) {
			k.Why = "the key did not sign this: " + k.Why
		}
		return k
	}
	k.Genuine, k.At, k.Verdict, k.FaultCount, k.TookMS, k.SHA256 = true, r.At, r.Verdict, r.FaultCount, r.TookMS, r.SHA256
	k.Assets, k.Checks, k.NotProved = append(k.Assets, r.Assets...), append(k.Checks, r.Checks...), append(k.NotProved, r.NotProved...)
	return k
}

// newestFiles are a folder's files by the time of their last change, the newest first.
func newestFiles(folder string, most int) []string {
	entries, err := os.ReadDir(folder)
	if err != nil { // nothing was proved yet
		return nil
	}
	type aged struct {
		path string
		at   time.Time
	}
	var all []aged
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		all = append(all, aged{filepath.Join(folder, e.Name()), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b aged) int { return b.at.Compare(a.at) })
	var out []string
	for _, a := range all[:min(most, len(all))] {
		out = append(out, a.path)
	}
	return out
}
