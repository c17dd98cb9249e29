package tell

import (
	"strings"

	"github.com/moneta-pay/moneta/doctor"
)

// Line says in one line of plain text what an entry tells, without its time.
func Line(s *Source, e *doctor.Entry) string {
	one := *s
	one.Entries, one.trees = []doctor.Entry{*e}, nil
	return plainText(newDoc(&one, "").tells(e))
}

func plainText(c cell) string {
	var b strings.Builder
	for i := range c {
		b.WriteString(c[i].text)
	}
	return oneLine(b.String())
}

// StageWord is the word of a stage.
func StageWord(lang string, s doctor.Stage) string { return word(lang, "stage-"+string(s)) }
