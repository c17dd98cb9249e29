// Package berka carries a real bank's year and the mapping that explains its
// columns, so that the demonstration needs nothing but the binary. It refuses to
// be more than an example: no code knows this set.
package berka

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed mapping.json
var mapping []byte

//go:embed trans_1993.csv.gz
var year1993 []byte

// Unpack writes the mapping and the data into dir and returns their paths.
func Unpack(dir string) (mappingPath string, data []string, err error) {
	mappingPath = filepath.Join(dir, "berka-mapping.json")
	file := filepath.Join(dir, "berka-trans_1993.csv.gz")
	if err := os.WriteFile(mappingPath, mapping, 0o600); err != nil {
		return "", nil, fmt.Errorf("unpack the example: %w", err)
	}
	if err := os.WriteFile(file, year1993, 0o600); err != nil {
		return "", nil, fmt.Errorf("unpack the example: %w", err)
	}
	return mappingPath, []string{file}, nil
}
