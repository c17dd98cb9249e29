//go:build unix

package journal

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A child that is being started holds copies of all descriptors until it runs its own
// program: a journal that was closed is free all the same.
func TestAClosedJournalIsFreeWhileACopyOfItsLockLives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := Open(dir)
	require.NoError(t, err)
	copied, err := syscall.Dup(int(j.lock.Fd()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(copied) })
	require.NoError(t, j.Close())
	j, err = Open(dir)
	require.NoError(t, err)
	_, err = Open(dir)
	require.ErrorIs(t, err, ErrBusy, "and it is one writer's again")
	require.NoError(t, j.Close())
}
