//go:build !unix

package disk

import "errors"

// Of is not known on this system.
func Of(string) (Usage, error) {
	return Usage{}, errors.New("how full a disk is cannot be told on this system")
}
