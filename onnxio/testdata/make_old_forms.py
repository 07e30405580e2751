"""Writes old-forms/: small models in operator forms that opsets left behind, with
inputs at random and the outputs of onnxruntime without graph optimisation.

    pip install onnx onnxruntime
    python onnxio/testdata/make_old_forms.py
"""
import onnx,os,numpy as np,onnxruntime as ort,shutil
from onnx import helper as h, TensorProto as T, numpy_helper as nh
base=os.path.join(os.path.dirname(os.path.abspath(__file__)),'old-forms')
shutil.rmtree(base,ignore_errors=True)
rng=np.random.default_rng(7)
f=lambda *s: rng.standard_normal(s).astype(np.float32)
N={np.dtype('float32'):T.FLOAT,np.dtype('int64'):T.INT64,np.dtype('float16'):T.FLOAT16,np.dtype('bool'):T.BOOL,np.dtype('float64'):T.DOUBLE}
def case(name,opset,nodes,inputs,outputs,inits={},dyn=False,ir=None):
    gi=[h.make_tensor_value_info(k,N[v.dtype],[('d%d'%i if dyn else d) for i,d in enumerate(v.shape)]) for k,v in inputs.items()]
    go=[h.make_tensor_value_info(k,t,None) for k,t in outputs.items()]
    g=h.make_graph(nodes,name,gi,go,[nh.from_array(v,k) for k,v in inits.items()])
    m=h.make_model(g,opset_imports=[h.make_opsetid('',opset)],producer_name='qvitc-tests'); m.ir_version=ir or (3 if opset<9 else 4 if opset<11 else 7)
    if m.ir_version<4:
        for k,v in inits.items(): m.graph.input.append(h.make_tensor_value_info(k,N[v.dtype],v.shape))
    d=f'{base}/{name}'; os.makedirs(d+'/test_data_set_0')
    o=ort.SessionOptions(); o.graph_optimization_level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    ort.set_default_logger_severity(4)
    try:
        s=ort.InferenceSession(m.SerializeToString(),o,providers=['CPUExecutionProvider'])
        y=s.run(list(outputs),inputs)
    except Exception as e:
        print('FAIL',name,str(e)[:200]); shutil.rmtree(d); return
    open(d+'/model.onnx','wb').write(m.SerializeToString())
    for i,(k,v) in enumerate(inputs.items()): open(f'{d}/test_data_set_0/input_{i}.pb','wb').write(nh.from_array(v,k).SerializeToString())
    for i,(k,v) in enumerate(zip(outputs,y)): open(f'{d}/test_data_set_0/output_{i}.pb','wb').write(nh.from_array(v,k).SerializeToString())
n=h.make_node
F={'y':T.FLOAT}
case('clip6',7,[n('Clip',['x'],['y'],min=-0.5,max=0.25)],{'x':f(2,3)},F)
case('clip6_max',10,[n('Clip',['x'],['y'],max=0.25)],{'x':f(2,3)},F)
case('clip6_f16',8,[n('Cast',['x'],['h'],to=10),n('Clip',['h'],['c'],min=0.0),n('Cast',['c'],['y'],to=1)],{'x':f(2,3)},F)
case('pad2',7,[n('Pad',['x'],['y'],pads=[0,1,0,2],value=1.5)],{'x':f(2,3)},F)
case('pad2_reflect',9,[n('Pad',['x'],['y'],pads=[0,1,0,2],mode='reflect')],{'x':f(2,3)},F)
case('slice1',9,[n('Slice',['x'],['y'],starts=[1,0],ends=[3,-1],axes=[0,2])],{'x':f(4,3,5)},F)
case('slice1_noaxes',7,[n('Slice',['x'],['y'],starts=[1],ends=[1000])],{'x':f(4,3)},F)
case('topk1',9,[n('TopK',['x'],['y','i'],k=2,axis=1)],{'x':f(3,5)},{'y':T.FLOAT,'i':T.INT64})
case('topk10',10,[n('TopK',['x','k'],['y','i'],axis=-1)],{'x':f(3,5)},{'y':T.FLOAT,'i':T.INT64},{'k':np.array([3])})
case('upsample7',7,[n('Upsample',['x'],['y'],scales=[1.,1.,2.,2.],mode='nearest')],{'x':f(1,2,2,3)},F)
case('upsample9_linear',9,[n('Upsample',['x','s'],['y'],mode='linear')],{'x':f(1,2,2,3)},F,{'s':np.array([1,1,2,3],np.float32)})
case('resize10',10,[n('Resize',['x','s'],['y'],mode='nearest')],{'x':f(1,1,2,2)},F,{'s':np.array([1,1,1.5,2],np.float32)})
case('resize11_sizes',11,[n('Resize',['x','r','e','z'],['y'],mode='linear',coordinate_transformation_mode='half_pixel')],{'x':f(1,1,2,2)},F,{'r':np.array([],np.float32),'e':np.array([],np.float32),'z':np.array([1,1,4,3])})
case('dropout7',7,[n('Dropout',['x'],['y'],ratio=0.3)],{'x':f(2,3)},F)
case('dropout10_mask',10,[n('Dropout',['x'],['y','m'],ratio=0.3)],{'x':f(2,3)},F)
case('batchnorm7',7,[n('BatchNormalization',['x','s','b','m','v'],['y'],epsilon=1e-3,spatial=1)],{'x':f(2,3,4)},F,{'s':f(3),'b':f(3),'m':f(3),'v':abs(f(3))})
case('batchnorm9',9,[n('BatchNormalization',['x','s','b','m','v'],['y'])],{'x':f(2,3,2,2)},F,{'s':f(3),'b':f(3),'m':f(3),'v':abs(f(3))})
for op in ['Softmax','LogSoftmax','Hardmax']:
    case(op.lower()+'11_axis1',11,[n(op,['x'],['y'],axis=1)],{'x':f(2,3,4)},F)
    case(op.lower()+'11_axis0',9,[n(op,['x'],['y'],axis=0)],{'x':f(2,3,4)},F)
    case(op.lower()+'11_neg2',11,[n('Relu',['x'],['r']),n(op,['r'],['y'],axis=-2)],{'x':f(2,3,4)},F,dyn=True)
    case(op.lower()+'7_default',7,[n(op,['x'],['y'])],{'x':f(2,3,2,2)},F)
    case(op.lower()+'7_default2d',7,[n(op,['x'],['s']),n('Relu',['s'],['y'])],{'x':f(2,3)},F)
case('softmax11_shared',11,[n('Softmax',['x'],['s'],axis=1),n('Add',['s','x'],['y']),n('Mul',['s','s'],['z'])],{'x':f(2,3,4)},{'y':T.FLOAT,'s':T.FLOAT,'z':T.FLOAT})
case('squeeze7',7,[n('Squeeze',['x'],['q'],axes=[0,2]),n('Unsqueeze',['q'],['y'],axes=[1,3])],{'x':f(1,3,1,2)},F)
case('squeeze7_all',7,[n('Squeeze',['x'],['y'])],{'x':f(1,3,1,2)},F)
case('split2',7,[n('Split',['x'],['a','b'],axis=1,split=[1,3]),n('Split',['b'],['c','d','e'],axis=1),n('Concat',['e','c','a'],['y'],axis=1)],{'x':f(2,4)},F)
for op in ['ReduceSum','ReduceMean','ReduceMax','ReduceL1','ReduceLogSumExp','ReduceProd','ReduceSumSquare','ReduceL2','ReduceMin','ReduceLogSum']:
    x=abs(f(2,3,2))+0.1
    case(op.lower()+'_old',8,[n(op,['x'],['a'],axes=[1,2],keepdims=0),n(op,['x'],['b']),n(op,['x'],['c'],axes=[0])],{'x':x},{'a':T.FLOAT,'b':T.FLOAT,'c':T.FLOAT})
case('gemm7',7,[n('Gemm',['a','b','c'],['y'],transB=1,alpha=0.5,beta=2.0)],{'a':f(2,3)},F,{'b':f(4,3),'c':f(4)})
case('unsorted_axes',11,[n('Unsqueeze',['x'],['y'],axes=[4,2,1])],{'x':f(2,3)},F)
case('scatter9',9,[n('Scatter',['x','i','u'],['y'],axis=1)],{'x':f(1,5)},F,{'i':np.array([[1,3]]),'u':f(1,2)})
case('where_eq',9,[n('Equal',['i','j'],['e']),n('Where',['e','x','z'],['y'])],{'x':f(3)},F,{'i':np.array([1,2,3]),'j':np.array([1,0,3]),'z':f(3)})
case('cumsum11_mod10',11,[n('CumSum',['x','a'],['y'],reverse=1)],{'x':f(2,3)},F,{'a':np.array(1,np.int64)})
case('argmax1',8,[n('ArgMax',['x'],['y'],axis=1,keepdims=0)],{'x':f(2,3)},{'y':T.INT64})
case('flatten_matmul7',7,[n('Flatten',['x'],['f'],axis=1),n('MatMul',['f','w'],['y'])],{'x':f(2,3,2)},F,{'w':f(6,2)})
case('averagepool7',7,[n('AveragePool',['x'],['y'],kernel_shape=[2,2],strides=[2,2],pads=[1,1,0,0])],{'x':f(1,2,4,4)},F)
case('maxpool8',8,[n('MaxPool',['x'],['y'],kernel_shape=[2,2])],{'x':f(1,2,4,4)},F)
case('conv1_nobias',7,[n('Conv',['x','w'],['y'],kernel_shape=[2,2],strides=[2,2])],{'x':f(1,2,4,4)},F,{'w':f(3,2,2,2)})
case('groupnorm18',18,[n('GroupNormalization',['x','s','b'],['y'],num_groups=2)],{'x':f(2,4,3)},F,{'s':f(2),'b':f(2)},ir=8)
case('gelu_chain10',10,[n('Erf',['x'],['e']),n('Mul',['e','x'],['y'])],{'x':f(2,3)},F)
case('expand8',8,[n('Expand',['x','s'],['y'])],{'x':f(1,3)},F,{'s':np.array([2,3])})
case('onehot_gather',9,[n('Gather',['x','i'],['y'],axis=1)],{'x':f(2,3)},F,{'i':np.array([2,0])})
case('prelu7',7,[n('PRelu',['x','s'],['y'])],{'x':f(2,3,2)},F,{'s':f(3,1)})
case('cast9_chain',9,[n('Cast',['x'],['i'],to=7),n('Cast',['i'],['y'],to=1)],{'x':f(2,3)*5},F)
case('constant_kinds',12,[n('Constant',[],['c'],value_float=2.0),n('Constant',[],['v'],value_floats=[1.,2.,3.]),n('Constant',[],['k'],value_ints=[3]),n('Constant',[],['one'],value_int=1),n('Mul',['x','c'],['a']),n('Add',['a','v'],['b']),n('Reshape',['b','k'],['y'])],{'x':f(1,3)},F)
# if with captures
then=h.make_graph([n('Add',['x','w'],['t'])],'then',[],[h.make_tensor_value_info('t',T.FLOAT,None)])
els=h.make_graph([n('Mul',['x','x'],['e0']),n('Sub',['e0','r'],['e'])],'else',[],[h.make_tensor_value_info('e',T.FLOAT,None)])
case('if_captures',11,[n('Relu',['x'],['r']),n('ReduceSum',['x'],['sum'],keepdims=0),n('Greater',['sum','zero'],['c']),n('If',['c'],['y'],then_branch=then,else_branch=els)],{'x':f(2,3)},F,{'w':f(3),'zero':np.array(0,np.float32)})
body=h.make_graph([n('Identity',['cin'],['cout']),n('Add',['acc','x'],['acc2']),n('Mul',['acc2','w'],['scan'])],'body',[h.make_tensor_value_info('i',T.INT64,[]),h.make_tensor_value_info('cin',T.BOOL,[]),h.make_tensor_value_info('acc',T.FLOAT,None)],[h.make_tensor_value_info('cout',T.BOOL,[]),h.make_tensor_value_info('acc2',T.FLOAT,None),h.make_tensor_value_info('scan',T.FLOAT,None)])
case('loop_captures',11,[n('Loop',['m','t','z'],['y','ys'],body=body)],{'x':f(3)},{'y':T.FLOAT,'ys':T.FLOAT},{'m':np.array(4),'t':np.array(True),'z':np.zeros(3,np.float32),'w':f(3)})
print(len(os.listdir(base)))
