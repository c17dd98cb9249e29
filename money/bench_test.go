package money

import "testing"

func BenchmarkAmount(b *testing.B) {
	small, large := Int(70_000), MustParseMinor("-120000000000000000000000000")
	buf := make([]byte, 0, 64)
	digits := make([]uint16, 0, 16)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	run("Add", func() { sink, sinkErr = small.Add(large) })
	run("Sub", func() { sink, sinkErr = small.Sub(large) })
	run("Cmp", func() { sinkInt = small.Cmp(large) })
	run("ParseMinor/small", func() { sink, sinkErr = ParseMinor("70000") })
	run("ParseMinor/39digits", func() { sink, sinkErr = ParseMinor("170141183460469231731687303715884105727") })
	run("Parse/CZK", func() { sink, sinkErr = Parse("700.00", "CZK") })
	run("Parse/ETH", func() { sink, sinkErr = Parse("1.5", "ETH") })
	run("AppendText/small", func() { buf, sinkErr = small.AppendText(buf[:0]) })
	run("AppendText/39digits", func() { buf, sinkErr = Max.AppendText(buf[:0]) })
	run("AppendFormat", func() { buf, sinkErr = AppendFormat(buf[:0], large, "ETH") })
	run("AppendBase10000/small", func() { digits, sinkBool = small.AppendBase10000(digits[:0]) })
	run("AppendBase10000/39digits", func() { digits, sinkBool = Max.AppendBase10000(digits[:0]) })
	run("FromBase10000", func() { sink, sinkErr = FromBase10000(digits, false) })
	run("LookupAsset", func() { _, sinkBool = LookupAsset("CZK") })
}
