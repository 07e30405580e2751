package ops

var attentionOps = []*Op{}
