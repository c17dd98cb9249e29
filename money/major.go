package money

import "fmt"

// Parse reads an amount in an asset's major units: "12.34" of CZK is 1234
// haléř. The text is an optional "-", a whole part, and optionally "." and at
// most as many decimals as the asset has; missing decimals are zeros. There is
// no other spelling: leading zeros ("012"), a bare point (".5", "5."), "+", a
// negative zero, spaces, separators and exponents are ErrSyntax. Decimals beyond
// the asset's scale are ErrScale even when they are zeros, because a sender who
// writes them thinks of another asset. It does not allocate unless it fails.
func Parse(s string, asset Asset) (Amount, error) {
	info, ok := LookupAsset(asset)
	if !ok {
		return Amount{}, refused(string(asset), ErrUnknownAsset)
	}
	a, err := parseMajor(s, info.Scale)
	if err != nil {
		return Amount{}, fmt.Errorf("%s with %d decimals: %w", asset, info.Scale, refused(s, err))
	}
	return a, nil
}

// MustParse is Parse for constants in code and tests; it panics where Parse fails.
func MustParse(s string, asset Asset) Amount {
	a, err := Parse(s, asset)
	if err != nil {
		panic(err)
	}
	return a
}

func parseMajor(s string, scale uint8) (Amount, error) {
	text, neg := cutSign(s)
	whole, decimals, err := cutPoint(text)
	if err != nil {
		return Amount{}, err
	}
	if !canonicalWhole(whole) {
		return Amount{}, ErrSyntax
	}
	var m magnitude
	for i := range len(whole) {
		if err := m.push(whole[i]); err != nil {
			return Amount{}, err
		}
	}
	if err := checkDecimals(decimals, scale); err != nil {
		return Amount{}, err
	}
	for i := range int(scale) {
		digit := byte('0')
		if i < len(decimals) {
			digit = decimals[i]
		}
		if err := m.push(digit); err != nil {
			return Amount{}, err
		}
	}
	if neg && m == (magnitude{}) {
		return Amount{}, ErrSyntax
	}
	return fromAbs(m.hi, m.lo, neg)
}

// cutPoint splits text at its point; a point with nothing behind it is refused.
func cutPoint(text string) (whole, decimals string, err error) {
	for i := range len(text) {
		if text[i] != '.' {
			continue
		}
		if i+1 == len(text) {
			return "", "", ErrSyntax
		}
		return text[:i], text[i+1:], nil
	}
	return text, "", nil
}

func checkDecimals(decimals string, scale uint8) error {
	for i := range len(decimals) {
		if decimals[i] < '0' || decimals[i] > '9' {
			return ErrSyntax
		}
	}
	if len(decimals) > int(scale) {
		return ErrScale
	}
	return nil
}

// Format writes a in the asset's major units with exactly the asset's decimals:
// 1234 of CZK is "12.34", -5 is "-0.05". Parse reads it back to the same amount.
// For an asset that is not registered the scale is not known, so the text says
// that it counts minor units and Parse refuses it.
func Format(a Amount, asset Asset) string {
	var buf [64]byte
	dst, err := AppendFormat(buf[:0], a, asset)
	if err != nil {
		return a.String() + " (minor units of " + string(asset) + ")"
	}
	return string(dst)
}

// AppendFormat appends the form of Format to dst, or fails with ErrUnknownAsset
// and returns dst as it was. It allocates only if dst must grow or on failure.
func AppendFormat(dst []byte, a Amount, asset Asset) ([]byte, error) {
	info, ok := LookupAsset(asset)
	if !ok {
		return dst, refused(string(asset), ErrUnknownAsset)
	}
	hi, lo, neg := a.Abs()
	if neg {
		dst = append(dst, '-')
	}
	var buf [40]byte
	digits := appendMagnitude(buf[:0], hi, lo)
	scale := int(info.Scale)
	whole := len(digits) - scale
	if whole <= 0 {
		dst = append(dst, '0')
	} else {
		dst = append(dst, digits[:whole]...)
		digits = digits[whole:]
	}
	if scale == 0 {
		return dst, nil
	}
	dst = append(dst, '.')
	for i := whole; i < 0; i++ {
		dst = append(dst, '0')
	}
	return append(dst, digits...), nil
}
