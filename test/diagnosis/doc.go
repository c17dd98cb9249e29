// Package diagnosis scores the doctor's engine on recorded incidents with known causes,
// on faults planted in recorded traffic, and on traffic without a fault, beside simpler
// methods in the same harness; it writes the tables of docs/diagnosis.md. It refuses to
// hand a label to the engine: labels are read by the scoring only.
package diagnosis
