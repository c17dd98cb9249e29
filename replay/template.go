package replay

import (
	"errors"
	"fmt"
	"strings"
)

// expand fills a template such as "bank-{bank|lower}" with a row's values.
// Filters are lower and upper; get returns a column's value.
func expand(text string, get func(column string) string) (string, error) {
	var out strings.Builder
	err := eachPart(text, func(literal, column, filter string) error {
		out.WriteString(literal)
		if column == "" {
			return nil
		}
		v := get(column)
		switch filter {
		case "":
		case "lower":
			v = strings.ToLower(v)
		case "upper":
			v = strings.ToUpper(v)
		default:
			return fmt.Errorf("unknown filter %q; use lower or upper", filter)
		}
		if v == "" {
			return fmt.Errorf("column %q is empty, but %q needs it", column, text)
		}
		out.WriteString(v)
		return nil
	})
	return out.String(), err
}

// templateColumns checks a template and lists the columns that it reads.
func templateColumns(text string) ([]string, error) {
	var names []string
	err := eachPart(text, func(_, column, filter string) error {
		if column != "" {
			names = append(names, column)
		}
		if filter != "" && filter != "lower" && filter != "upper" {
			return fmt.Errorf("unknown filter %q; use lower or upper", filter)
		}
		return nil
	})
	return names, err
}

// eachPart calls f with each literal and the placeholder that follows it; the
// last call has no placeholder.
func eachPart(text string, f func(literal, column, filter string) error) error {
	for {
		literal, rest, found := strings.Cut(text, "{")
		if strings.Contains(literal, "}") {
			return errors.New(`has "}" without "{"`)
		}
		if !found {
			return f(literal, "", "")
		}
		inside, after, closed := strings.Cut(rest, "}")
		column, filter, _ := strings.Cut(inside, "|")
		if !closed || column == "" || strings.Contains(inside, "{") {
			return errors.New(`has "{" without a column and "}"; write e.g. "bank-{bank|lower}"`)
		}
		if err := f(literal, column, filter); err != nil {
			return err
		}
		text = after
	}
}

// dateLayout turns "YYMMDD" into the layout of package time.
func dateLayout(text string) (string, error) {
	const remedy = `write it with YYYY or YY, MM and DD, e.g. "YYMMDD" or "DD.MM.YYYY"`
	rest, out := text, ""
	seen := map[byte]int{}
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, "YYYY"):
			rest, out = rest[4:], out+"2006"
			seen['Y']++
		case strings.HasPrefix(rest, "YY"):
			rest, out = rest[2:], out+"06"
			seen['Y']++
		case strings.HasPrefix(rest, "MM"):
			rest, out = rest[2:], out+"01"
			seen['M']++
		case strings.HasPrefix(rest, "DD"):
			rest, out = rest[2:], out+"02"
			seen['D']++
		case strings.IndexByte("-./ ", rest[0]) >= 0:
			out += rest[:1]
			rest = rest[1:]
		default:
			return "", fmt.Errorf("%q has %q, which is not known; %s", text, rest[:1], remedy)
		}
	}
	if seen['Y'] != 1 || seen['M'] != 1 || seen['D'] != 1 {
		return "", fmt.Errorf("%q needs year, month and day once each; %s", text, remedy)
	}
	return out, nil
}
