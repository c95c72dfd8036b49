namespace StableDiffusion.Ilgpu.Weights;

/// <summary>What our reader does where a pickle calls a known name. There is nothing else that it could do.</summary>
internal enum TorchGlobalKind { OrderedDictionary, ParameterDictionary, Set, Size, RebuildTensor, RebuildParameter, Storage, Opaque }

/// <summary>A known Python name.</summary>
/// <param name="Name">Module and name, joined by a dot.</param>
/// <param name="Kind">What it stands for.</param>
/// <param name="Type">A storage's element type.</param>
internal sealed record TorchGlobal(string Name, TorchGlobalKind Kind, TensorType? Type = null) : TorchOpaque(Name);

/// <summary>
/// The Python names that a pickle may contain; any other is refused. Those of <see cref="TorchGlobalKind.Opaque"/> stand in the
/// published Stable Diffusion 1.x checkpoints and in embeddings beside the tensors: they become objects with a name and nothing else.
/// </summary>
internal static class TorchGlobals
{
    private static readonly string[] Opaque =
    [
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode",
        "torch.device", "torch.float16", "torch.float32", "torch.float64", "torch.bfloat16", "torch.int64", "torch.int32", "torch.uint8",
        "torch.bool",
    ];

    private static readonly Dictionary<string, TorchGlobal> Known = new[]
    {
        new TorchGlobal("collections.OrderedDict", TorchGlobalKind.OrderedDictionary),
        new TorchGlobal("torch.nn.modules.container.ParameterDict", TorchGlobalKind.ParameterDictionary),
        new TorchGlobal("__builtin__.set", TorchGlobalKind.Set),
        new TorchGlobal("builtins.set", TorchGlobalKind.Set),
        new TorchGlobal("torch.Size", TorchGlobalKind.Size),
        new TorchGlobal("torch._utils._rebuild_tensor_v2", TorchGlobalKind.RebuildTensor),
        new TorchGlobal("torch._utils._rebuild_parameter", TorchGlobalKind.RebuildParameter),
        new TorchGlobal("torch.DoubleStorage", TorchGlobalKind.Storage, TensorType.F64),
        new TorchGlobal("torch.FloatStorage", TorchGlobalKind.Storage, TensorType.F32),
        new TorchGlobal("torch.HalfStorage", TorchGlobalKind.Storage, TensorType.F16),
        new TorchGlobal("torch.BFloat16Storage", TorchGlobalKind.Storage, TensorType.BF16),
        new TorchGlobal("torch.LongStorage", TorchGlobalKind.Storage, TensorType.I64),
        new TorchGlobal("torch.IntStorage", TorchGlobalKind.Storage, TensorType.I32),
        new TorchGlobal("torch.ShortStorage", TorchGlobalKind.Storage, TensorType.I16),
        new TorchGlobal("torch.CharStorage", TorchGlobalKind.Storage, TensorType.I8),
        new TorchGlobal("torch.ByteStorage", TorchGlobalKind.Storage, TensorType.U8),
        new TorchGlobal("torch.storage.UntypedStorage", TorchGlobalKind.Storage, TensorType.U8),
        new TorchGlobal("torch.BoolStorage", TorchGlobalKind.Storage, TensorType.Bool),
    }.Concat(Opaque.Select(n => new TorchGlobal(n, TorchGlobalKind.Opaque))).ToDictionary(g => g.Name);

    /// <summary>Null for a name that is refused.</summary>
    public static TorchGlobal? Find(string name) => Known.GetValueOrDefault(name);
}
