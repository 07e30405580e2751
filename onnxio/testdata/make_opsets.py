"""Writes opsets.tsv, the table of ai.onnx operators that onnxio embeds.

    pip install onnx
    python onnxio/testdata/make_opsets.py > onnxio/opsets.tsv
"""
import onnx
from onnx import defs
A=defs.OpSchema.AttrType
K={A.FLOAT:'f',A.INT:'i',A.STRING:'s',A.TENSOR:'t',A.GRAPH:'g',A.FLOATS:'F',A.INTS:'I',A.STRINGS:'S',A.TENSORS:'T',A.GRAPHS:'G',A.SPARSE_TENSOR:'p',A.TYPE_PROTO:'y'}
E={'float':'f32','uint8':'u8','int8':'i8','uint16':'u16','int16':'i16','int32':'i32','int64':'i64','string':'str','bool':'bool','float16':'f16','double':'f64','uint32':'u32','uint64':'u64','bfloat16':'bf16','uint4':'u4','int4':'i4','uint2':'u2','int2':'i2'}
order=list(E.values())
# bit index = order
bitvals={'f32':1,'u8':2,'i8':3,'u16':4,'i16':5,'i32':6,'i64':7,'str':8,'bool':9,'f16':10,'f64':11,'u32':12,'u64':13,'bf16':16,'u4':21,'i4':22,'u2':25,'i2':26}
def types(s,p):
    d={c.type_param_str:c.allowed_type_strs for c in s.type_constraints}
    ts=d.get(p.type_str,[p.type_str])
    m=0
    for t in ts:
        if t.startswith('tensor('):
            e=E.get(t[7:-1])
            if e: m|=1<<bitvals[e]
    return m
rows=[]
def default(a):
    d=a.default_value
    if a.type==A.INT and d.type==2: return '=%d'%d.i
    if a.type==A.FLOAT and d.type==1: return '=%.9g'%d.f
    if a.type==A.STRING and d.type==3: return '='+d.s.decode()
    return ''
for s in defs.get_all_schemas_with_history():
    if s.domain!='' or s.since_version>28: continue
    inf=2**31-1
    mx=lambda v: '*' if v>=inf else str(v)
    attrs=[]
    for n,a in sorted(s.attributes.items()):
        attrs.append(n+':'+K[a.type]+('!' if a.required else '')+default(a))
    def col(p):
        hetero=p.option==defs.OpSchema.FormalParameterOption.Variadic and not p.is_homogeneous
        v='' if hetero or '(' in p.type_str else p.type_str
        return '%s=%x'%(v,types(s,p))
    ins=[col(p) for p in s.inputs]
    outs=[col(p) for p in s.outputs]
    rows.append((s.name,s.since_version,'-' if s.deprecated and s.name in('Upsample','Scatter') else '%d..%s'%(s.min_input,mx(s.max_input)),'%d..%s'%(s.min_output,mx(s.max_output)),','.join(ins) or '-',','.join(outs) or '-',' '.join(attrs) or '-'))
rows.sort(key=lambda r:(r[0],r[1]))
print('# Every operator of ai.onnx, opsets 1 to 28: the facts of the operator specification.')
print('# operator, since opset, inputs (- deprecated), outputs, type variable=element types of each input and of each output (bit n = TensorProto.DataType n, hexadecimal), attributes name:kind (! required, = default)')
for r in rows: print('\t'.join(map(str,r)))
