package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// mutant is one mistake: the text between two offsets of a file, written otherwise.
type mutant struct {
	file     string
	src      []byte
	from, to int
	instead  string
	line     int
	what     string
}

// String is where it is and what it is.
func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d %s: %s", m.file, m.line, m.what, strings.Join(strings.Fields(m.text()), " "))
}

// text is the line of the file that is changed, and what stands there instead.
func (m *mutant) text() string {
	begin := bytes.LastIndexByte(m.src[:m.from], '\n') + 1
	end := len(m.src)
	if i := bytes.IndexByte(m.src[m.from:], '\n'); i >= 0 {
		end = m.from + i
	}
	return fmt.Sprintf("%s => %s", m.src[begin:end], strconv.Quote(m.instead))
}

func (m *mutant) source() []byte {
	out := append([]byte(nil), m.src[:m.from]...)
	return append(append(out, m.instead...), m.src[m.to:]...)
}

// turned is what each operator is turned into: the mistakes that people make with it.
var turned = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.LAND: token.LOR, token.LOR: token.LAND, token.ADD: token.SUB, token.SUB: token.ADD, token.SHL: token.SHR, token.SHR: token.SHL,
	token.AND: token.OR, token.OR: token.AND, token.MUL: token.ADD, token.AND_NOT: token.OR,
}

// planter walks over a file and collects mistakes.
type planter struct {
	file  string
	src   []byte
	fset  *token.FileSet
	found []mutant
}

// mutantsOf lists the mistakes that can be planted in a file. Texts, imports, types and
// constants' declarations are left alone: a name or a sentence proves nothing.
func mutantsOf(file string, src []byte) ([]mutant, error) {
	p := &planter{file: file, src: src, fset: token.NewFileSet()}
	parsed, err := parser.ParseFile(p.fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(parsed, p.visit)
	return p.found, nil
}

func (p *planter) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GenDecl:
		return n.Tok == token.VAR
	case *ast.BinaryExpr:
		if to, ok := turned[n.Op]; ok && !isText(n.X) && !isText(n.Y) {
			at := p.offset(n.OpPos)
			p.plant(at, at+len(n.Op.String()), to.String(), n.Op.String()+" for "+to.String())
		}
	case *ast.IfStmt:
		p.around(n.Cond, "!(", ")", "a condition denied")
	case *ast.SwitchStmt:
		p.cases(n)
	case *ast.BlockStmt:
		p.statements(n.List)
	case *ast.CaseClause:
		p.statements(n.Body)
	case *ast.BasicLit:
		if n.Kind == token.INT {
			p.around(n, "(1+", ")", "a number off by one")
		}
	case *ast.Ident:
		if n.Name == "true" || n.Name == "false" {
			p.plant(p.offset(n.Pos()), p.offset(n.End()), map[string]string{"true": "false", "false": "true"}[n.Name], "yes for no")
		}
	case *ast.CompositeLit:
		p.fields(n)
	}
	return true
}

// cases leaves out what leads into a case, one value at a time.
func (p *planter) cases(s *ast.SwitchStmt) {
	for _, c := range s.Body.List {
		clause, ok := c.(*ast.CaseClause)
		if !ok {
			continue
		}
		for i, e := range clause.List {
			switch {
			case s.Tag == nil:
				p.around(e, "false && (", ")", "a case left out")
			case len(clause.List) > 1:
				p.element(clause.List, i, "a case left out")
			}
		}
	}
}

// statements leaves out one statement at a time, where that can compile.
func (p *planter) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				continue
			}
		case *ast.ExprStmt, *ast.IncDecStmt:
		case *ast.ReturnStmt:
			if len(s.Results) > 0 {
				continue
			}
		default:
			continue
		}
		p.plant(p.offset(s.Pos()), p.offset(s.End()), "", "a statement left out")
	}
}

// fields leaves out one element of a literal at a time.
func (p *planter) fields(n *ast.CompositeLit) {
	if _, array := n.Type.(*ast.ArrayType); !array && len(n.Elts) == 1 {
		if _, keyed := n.Elts[0].(*ast.KeyValueExpr); !keyed {
			return
		}
	}
	for i, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && isText(kv.Value) {
			continue
		}
		p.element(n.Elts, i, "an element left out")
	}
}

// element leaves out the i-th of a list, with the comma behind it, or before it.
func (p *planter) element(list []ast.Expr, i int, what string) {
	from, to := p.offset(list[i].Pos()), p.offset(list[i].End())
	switch {
	case i+1 < len(list):
		to = p.offset(list[i+1].Pos())
	case i > 0:
		from = p.offset(list[i-1].End())
	}
	p.plant(from, to, "", what)
}

func (p *planter) around(n ast.Node, before, after, what string) {
	from, to := p.offset(n.Pos()), p.offset(n.End())
	p.plant(from, to, before+string(p.src[from:to])+after, what)
}

func (p *planter) plant(from, to int, instead, what string) {
	p.found = append(p.found, mutant{
		file: p.file, src: p.src, from: from, to: to, instead: instead, what: what, line: 1 + bytes.Count(p.src[:from], []byte("\n")),
	})
}

func (p *planter) offset(at token.Pos) int { return p.fset.Position(at).Offset }

// isText reports whether e is a text, as far as that can be seen.
func isText(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && (lit.Kind == token.STRING || lit.Kind == token.CHAR)
}
