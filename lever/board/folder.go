package board

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/lever"
)

// The folder holds one file for each change, <id>.pull.json and <id>.undo.json,
// written whole or not at all. Only the owner of the folder can write there.
const (
	pullEnd = ".pull.json"
	undoEnd = ".undo.json"
	// fileMax bounds a file in bytes, filesMax the files that are read.
	fileMax  = 8 << 10
	filesMax = 256
	// forgotAfter is when a pull's files are removed: long after its end.
	forgotAfter = 7 * 24 * time.Hour
)

// files is what the folder holds.
type files struct {
	pulls  []lever.Pull
	undos  map[lever.ID]lever.Undo
	broken []string // files that are no lever, and why
}

// readFolder reads all changes. A folder that is not there holds none; one that
// others may write to is refused, as whatever it says.
func readFolder(folder string) (files, error) {
	f := files{undos: make(map[lever.ID]lever.Undo)}
	info, err := os.Stat(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return f, fmt.Errorf("others can write to %s: chmod 700 it", folder)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return f, err
	}
	n := 0
	for _, e := range entries {
		pull, undo := strings.HasSuffix(e.Name(), pullEnd), strings.HasSuffix(e.Name(), undoEnd)
		if !pull && !undo {
			continue
		}
		if n++; n > filesMax {
			return f, fmt.Errorf("%s holds more than %d files", folder, filesMax)
		}
		if err := f.add(filepath.Join(folder, e.Name()), pull); err != nil {
			f.broken = append(f.broken, e.Name()+": "+err.Error())
		}
	}
	return f, nil
}

func (f *files) add(path string, pull bool) error {
	raw, err := readBounded(path)
	if err != nil {
		return err
	}
	if !pull {
		var u lever.Undo
		if err := decode(raw, &u); err != nil {
			return err
		}
		if u.By == "" || u.Reason == "" || u.At.IsZero() {
			return errors.New("an undo says who, why and when")
		}
		u.Via = lever.ViaFile
		f.undos[u.ID] = u
		return nil
	}
	var p lever.Pull
	if err := decode(raw, &p); err != nil {
		return err
	}
	if !local(p.Lever) {
		return fmt.Errorf("%s is not pulled by a file", p.Lever)
	}
	p.Via, p.UndoneAt = lever.ViaFile, time.Time{}
	if p.By == "" {
		return errors.New("a pull says who")
	}
	if err := p.Check(); err != nil {
		return err
	}
	f.pulls = append(f.pulls, p)
	return nil
}

func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, fileMax+1))
	if err == nil && len(raw) > fileMax {
		err = fmt.Errorf("longer than %d bytes", fileMax)
	}
	return raw, err
}

// PullLocally writes a pull into a node's folder, durably; the node sees it within
// half a second, whatever became of API and database. By and Owner say who.
func PullLocally(folder string, p lever.Pull, now time.Time) (lever.Pull, error) {
	p.ID, p.Via, p.At = lever.NewID(), lever.ViaFile, now.UTC().Truncate(time.Microsecond)
	p.Expires = p.Expires.UTC().Truncate(time.Microsecond)
	if !local(p.Lever) {
		return p, &lever.Refusal{Param: "lever", Detail: string(p.Lever) + " is not pulled by a file; " + strings.Join(locals(), ", ") + " are"}
	}
	if err := p.Check(); err != nil {
		return p, err
	}
	return p, write(folder, p.ID.String()+pullEnd, &p)
}

// locals are the levers that files may pull.
func locals() (all []string) {
	for _, e := range lever.Catalogue() {
		if e.Local {
			all = append(all, string(e.Name))
		}
	}
	return all
}

// UndoLocally ends a pull of one of the levers that files may pull, by a file.
func UndoLocally(folder string, u lever.Undo, now time.Time) error {
	u.Via, u.At = lever.ViaFile, now.UTC().Truncate(time.Microsecond)
	if strings.TrimSpace(u.Reason) == "" || u.By == "" {
		return &lever.Refusal{Param: "reason", Detail: "say why it ends"}
	}
	return write(folder, u.ID.String()+undoEnd, &u)
}

// ReadLocally returns what the folder holds, and what in it is no lever.
func ReadLocally(folder string) ([]lever.Pull, []string, error) {
	f, err := readFolder(folder)
	if err != nil {
		return nil, nil, err
	}
	return merge(nil, f), f.broken, nil
}

// write puts a file into the folder, whole or not at all, and waits for the disk.
func write(folder, name string, v any) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(folder, ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already when it went well
	_, err = tmp.Write(append(raw, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(folder, name)); err != nil {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// copyFiles puts what came in by files into the table, once each, and removes files
// whose time is long over. From then on it holds on every node. What was undone in the
// table gets its undo beside its file: whoever knows nothing but the folder, while the
// database is gone, would hold it again.
func (b *Board) copyFiles(ctx context.Context) {
	b.mu.Lock()
	pulls, undos := b.files.pulls, b.files.undos
	have := make(map[lever.ID]lever.Pull, len(b.table))
	for _, p := range b.table {
		have[p.ID] = p
	}
	now := b.cfg.Clock.Now()
	b.mu.Unlock()
	for i := range pulls {
		p := &pulls[i]
		if now.Sub(p.Expires) > forgotAfter {
			b.forget(p.ID)
			continue
		}
		if kept, known := have[p.ID]; known {
			b.undoneBeside(ctx, &kept, undos)
			continue
		}
		if now.Sub(p.Expires) > time.Hour {
			continue
		}
		b.copied(ctx, p.ID, func(tx pgx.Tx) error { return insertPull(ctx, tx, p) })
	}
	for id, u := range undos {
		if now.Sub(u.At) > forgotAfter {
			b.forget(id)
			continue
		}
		if p, known := have[id]; !known || !p.UndoneAt.IsZero() || !local(p.Lever) {
			continue
		}
		b.copied(ctx, id, func(tx pgx.Tx) error { return insertUndo(ctx, tx, &u) })
	}
}

// undoneBeside writes the undo of a file's lever that ended in the table.
func (b *Board) undoneBeside(ctx context.Context, p *lever.Pull, undos map[lever.ID]lever.Undo) {
	if _, beside := undos[p.ID]; beside || p.UndoneAt.IsZero() {
		return
	}
	if err := UndoLocally(b.cfg.Folder, lever.Undo{ID: p.ID, By: p.UndoneBy, Reason: p.UndoReason}, p.UndoneAt); err != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "a lever that ended still stands in the folder", slog.String("id", p.ID.String()), slog.Any("error", err))
	}
}

func (b *Board) copied(ctx context.Context, id lever.ID, insert func(pgx.Tx) error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	if err := pgx.BeginFunc(ctx, b.cfg.Pool, insert); err != nil {
		if ctx.Err() == nil {
			b.log.LogAttrs(ctx, slog.LevelWarn, "a lever of the folder is not in the table yet", slog.String("id", id.String()), slog.Any("error", err))
		}
		return
	}
	b.log.LogAttrs(ctx, slog.LevelWarn, "a lever of the folder is in the table now and holds on every node", slog.String("id", id.String()))
}

func (b *Board) forget(id lever.ID) {
	for _, end := range []string{pullEnd, undoEnd} {
		_ = os.Remove(filepath.Join(b.cfg.Folder, id.String()+end)) // again next time
	}
}
