using System.Buffers.Binary;
using System.Text;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>A tensor to be written: a view of a storage's bytes.</summary>
internal sealed record SampleTensor(string Key, TensorType Type, byte[] Storage, long Start, long[] Shape, long[] Strides)
{
    /// <summary>A tensor that has its storage to itself, row-major.</summary>
    public static SampleTensor Plain(string key, TensorType type, byte[] storage, params long[] shape)
    {
        var strides = new long[shape.Length];
        for (var (d, step) = (shape.Length - 1, 1L); d >= 0; d--)
        {
            strides[d] = step;
            step *= shape[d];
        }

        return new SampleTensor(key, type, storage, 0, shape, strides);
    }

    public static SampleTensor Floats(string key, float[] values, params long[] shape) =>
        Plain(key, TensorType.F32, [.. values.SelectMany(BitConverter.GetBytes)], shape);
}

/// <summary>A storage by its persistent id: its class in the module torch, its bytes, and how many elements they are.</summary>
internal sealed record SampleStorage(string Key, string Class, byte[] Bytes, long Count);

/// <summary>A Python name as a value.</summary>
internal sealed record SampleGlobal(string Module, string Name);

/// <summary>The result of calling a name, with a state given to it after.</summary>
internal sealed record SampleCall(SampleGlobal Callee, object?[] Arguments, object? State = null, bool IsNew = false);

/// <summary>A dictionary whose keys need not be texts.</summary>
internal sealed record SampleDictionary(params (object? Key, object? Value)[] Entries);

/// <summary>Writes pickles of protocol 2 as PyTorch has Python write them, and single opcodes for damaged ones.</summary>
internal sealed class PickleWriter
{
    private readonly List<byte> bytes = [];
    private readonly Dictionary<string, int> memo = [];

    public PickleWriter(int protocol = 2) => Op(PickleOpcode.Proto, (byte)protocol);

    /// <summary>The storages of all tensors that were written, by key.</summary>
    public Dictionary<string, byte[]> Storages { get; } = [];

    /// <summary>The whole pickle of a value.</summary>
    public static (byte[] Pickle, Dictionary<string, byte[]> Storages) Write(object? value)
    {
        var writer = new PickleWriter().Value(value).Op(PickleOpcode.Stop);
        return (writer.ToArray(), writer.Storages);
    }

    public byte[] ToArray() => [.. bytes];

    public PickleWriter Op(PickleOpcode code, params byte[] argument)
    {
        bytes.Add((byte)code);
        bytes.AddRange(argument);
        return this;
    }

    public PickleWriter Op32(PickleOpcode code, uint argument)
    {
        var four = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(four, argument);
        return Op(code, four);
    }

    public PickleWriter Global(string module, string name) => Op(PickleOpcode.Global, Encoding.UTF8.GetBytes($"{module}\n{name}\n"));

    public PickleWriter Value(object? value)
    {
        switch (value)
        {
            case null:
                return Op(PickleOpcode.None);
            case bool flag:
                return Op(flag ? PickleOpcode.NewTrue : PickleOpcode.NewFalse);
            case int number:
                return Integer(number);
            case long number:
                return Integer(number);
            case double number:
                var big = new byte[8];
                BinaryPrimitives.WriteDoubleBigEndian(big, number);
                return Op(PickleOpcode.BinFloat, big);
            case string text:
                return Text(text);
            case SampleGlobal global:
                return Global(global.Module, global.Name);
            case SampleCall call:
                Value(call.Callee).Tuple(call.Arguments).Op(call.IsNew ? PickleOpcode.NewObj : PickleOpcode.Reduce);
                return call.State is null ? this : Value(call.State).Op(PickleOpcode.Build);
            case SampleTensor tensor:
                return Tensor(tensor);
            case SampleStorage storage:
                Storages[storage.Key] = storage.Bytes;
                return Tuple(["storage", storage.Class == "UntypedStorage" ? new SampleGlobal("torch.storage", storage.Class)
                    : new SampleGlobal("torch", storage.Class), storage.Key, "cpu", storage.Count]).Op(PickleOpcode.BinPersId);
            case Dictionary<string, object?> dictionary:
                return Value(new SampleDictionary([.. dictionary.Select(e => ((object?)e.Key, e.Value))]));
            case SampleDictionary dictionary:
                Op(PickleOpcode.EmptyDict).Op(PickleOpcode.Mark);
                foreach (var (key, entry) in dictionary.Entries)
                {
                    Value(key).Value(entry);
                }

                return Op(PickleOpcode.SetItems);
            case object?[] tuple:
                return Tuple(tuple);
            case List<object?> list:
                Op(PickleOpcode.EmptyList).Op(PickleOpcode.Mark);
                list.ForEach(item => Value(item));
                return Op(PickleOpcode.Appends);
            default:
                throw new ArgumentException($"{value.GetType()} cannot be written", nameof(value));
        }
    }

    private PickleWriter Integer(long value)
    {
        var eight = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(eight, value);
        return value is >= 0 and <= byte.MaxValue ? Op(PickleOpcode.BinInt1, eight[0])
            : value is >= 0 and <= ushort.MaxValue ? Op(PickleOpcode.BinInt2, eight[..2])
            : value is >= int.MinValue and <= int.MaxValue ? Op(PickleOpcode.BinInt, eight[..4])
            : Op(PickleOpcode.Long1, [8, .. eight]);
    }

    /// <summary>A text the first time, from the memo after.</summary>
    private PickleWriter Text(string text)
    {
        if (memo.TryGetValue(text, out var index))
        {
            return index <= byte.MaxValue ? Op(PickleOpcode.BinGet, (byte)index) : Op32(PickleOpcode.LongBinGet, (uint)index);
        }

        var utf8 = Encoding.UTF8.GetBytes(text);
        Op32(PickleOpcode.BinUnicode, (uint)utf8.Length);
        bytes.AddRange(utf8);
        memo.Add(text, memo.Count);
        return memo.Count <= byte.MaxValue + 1 ? Op(PickleOpcode.BinPut, (byte)(memo.Count - 1))
            : Op32(PickleOpcode.LongBinPut, (uint)memo.Count - 1);
    }

    private PickleWriter Tuple(object?[] items)
    {
        if (items.Length is > 0 and <= 3)
        {
            items.ToList().ForEach(i => Value(i));
            return Op((PickleOpcode)((int)PickleOpcode.Tuple1 + items.Length - 1));
        }

        Op(items.Length == 0 ? PickleOpcode.EmptyTuple : PickleOpcode.Mark);
        items.ToList().ForEach(i => Value(i));
        return items.Length == 0 ? this : Op(PickleOpcode.Tuple);
    }

    private PickleWriter Tensor(SampleTensor tensor)
    {
        var type = tensor.Type switch
        {
            TensorType.F64 => "Double",
            TensorType.F32 => "Float",
            TensorType.F16 => "Half",
            TensorType.BF16 => "BFloat16",
            TensorType.I64 => "Long",
            TensorType.I32 => "Int",
            TensorType.I16 => "Short",
            TensorType.I8 => "Char",
            TensorType.U8 => "Byte",
            TensorType.F8_E4M3 => "float8_e4m3fn",
            TensorType.F8_E5M2 => "float8_e5m2",
            _ => "Bool",
        };

        // PyTorch has no storage classes of its newer types.
        var isNew = type.StartsWith('f');
        var storage = new SampleStorage(
            tensor.Key, isNew ? "UntypedStorage" : $"{type}Storage", tensor.Storage,
            tensor.Storage.LongLength / SafetensorsHeader.BytesOf(tensor.Type));
        object?[] view = [storage, tensor.Start, tensor.Shape.Cast<object?>().ToArray(), tensor.Strides.Cast<object?>().ToArray(), false,
            new SampleCall(new SampleGlobal("collections", "OrderedDict"), [])];
        return Value(new SampleCall(
            new SampleGlobal("torch._utils", isNew ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2"),
            isNew ? [.. view, new SampleGlobal("torch", type)] : view));
    }
}
