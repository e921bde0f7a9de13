package host

import (
	"reflect"
	"testing"
)

// What a producer has counted goes on in the figures of the one after it, all of it;
// how it stands does not.
func TestTotalsOfAProducerGoOn(t *testing.T) {
	stands := map[string]bool{"BufferTotal": true, "BufferAvailable": true, "BufferWaiters": true, "InFlightRequests": true, "MetadataAge": true}
	var past, sum ProduceStats
	n := int64(0)
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.Array:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		default:
			n++
			v.SetInt(n)
		}
	}
	fill(reflect.ValueOf(&past).Elem())
	sum.addTotals(past)
	got, want := reflect.ValueOf(sum), reflect.ValueOf(past)
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		g, w := got.Field(i).Interface(), want.Field(i).Interface()
		if stands[name] {
			w = reflect.Zero(got.Field(i).Type()).Interface()
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s: got %v, want %v", name, g, w)
		}
	}
}
