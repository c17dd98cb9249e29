package limits_test

import (
	"testing"

	"github.com/moneta-pay/moneta/test/mutants/testdata/limits"
)

func TestOver(t *testing.T) {
	if !limits.Over(2, 1) || limits.Over(1, 1) {
		t.Fatal("over is above")
	}
}

func TestUnder(t *testing.T) { // says nothing of what is equal
	if !limits.Under(1, 2) {
		t.Fatal("under is below")
	}
}
