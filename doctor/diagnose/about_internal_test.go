package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/doctor"
)

// Whose session it is, is told by how its name begins.
func TestWhereTakesBeginnings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want, is string
		ok       bool
	}{
		{"moneta", "moneta", true},
		{"moneta", "moneta leader 1", false},
		{"!moneta", "moneta", false},
		{"!moneta", "psql", true},
		{"moneta*", "moneta leader 1", true},
		{"!moneta*", "moneta leader 1", false},
		{"!moneta*", "psql", true},
		{"!moneta*", "", true},
	} {
		s := doctor.Sign{Where: map[string]string{"application": tt.want}}
		r := doctor.Reading{Detail: map[string]string{"application": tt.is}}
		require.Equal(t, tt.ok, about(&s, &r), "%q of %q", tt.want, tt.is)
	}
}
