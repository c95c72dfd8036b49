using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Reads the part of Python's pickle format (protocols 2 to 5; PEP 3154 and Python's pickletools) that files of tensors need: numbers,
/// texts, lists, tuples, dictionaries, sets, the memo, storages by persistent id, and calls of the names in <see cref="TorchGlobals"/>,
/// which <see cref="TorchObjects"/> understands. Nothing is executed and nothing is looked up outside these lists; any other opcode
/// or name is refused by its name. The stream drives one loop and no recursion.
/// </summary>
internal sealed class PickleReader
{
    private const int LongestName = 256;

    // Estimates from above of what each takes, with the growth of the list or dictionary that it goes into.
    private const int BoxBytes = 24, StackBytes = 24, MarkBytes = 12, MemoBytes = 96, ItemBytes = 24, EntryBytes = 128;
    private const int ArrayBytes = 32, ListBytes = 64, TextBytes = 32;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly TorchOpaque Bytes = new("bytes");
    private static readonly object True = true, False = false;
    private static readonly object[] SmallIntegers = [.. Enumerable.Range(0, 1025).Select(i => (object)(long)i)];

    private readonly byte[] data;
    private readonly TorchObjects objects;
    private readonly AllocationBudget budget;
    private readonly List<object?> stack = [];
    private readonly List<int> marks = [];
    private readonly Dictionary<long, object?> memo = [];
    private int position;
    private int deepest;

    private PickleReader(byte[] data, TorchObjects objects, AllocationBudget budget) =>
        (this.data, this.objects, this.budget) = (data, objects, budget);

    /// <summary>The object that the pickle describes; <see cref="TorchDictionary"/> says of which types it can be.</summary>
    /// <param name="description">What messages call the pickle.</param>
    /// <param name="data">The whole pickle.</param>
    /// <param name="objects">Makes the objects of PyTorch.</param>
    /// <param name="budget">Taken from for all that is made.</param>
    /// <exception cref="StableDiffusionException">The pickle is damaged, or holds what tensor files do not need.</exception>
    public static object? Read(string description, byte[] data, TorchObjects objects, AllocationBudget budget)
    {
        var reader = new PickleReader(data, objects, budget);
        var start = 0;
        try
        {
            reader.ReadProtocol();
            do
            {
                start = reader.position;
            }
            while (reader.Step());

            return reader.Result();
        }
        catch (InvalidDataException e)
        {
            throw new StableDiffusionException($"{description}, byte {start}: {e.Message}");
        }
    }

    private void ReadProtocol()
    {
        if (Byte() != (byte)PickleOpcode.Proto)
        {
            throw new InvalidDataException("not a pickle of protocol 2 or later");
        }

        if (Byte() is var protocol and (< 2 or > 5))
        {
            throw new InvalidDataException($"pickle protocol {protocol}; read are 2 to 5");
        }
    }

    private object? Result() =>
        stack.Count != 1 || marks.Count > 0 ? throw new InvalidDataException($"the pickle ends with {stack.Count} objects instead of one")
        : position != data.Length ? throw new InvalidDataException($"{data.Length - position} bytes follow the end of the pickle")
        : stack[0];

    /// <summary>Executes one opcode; false after the last one.</summary>
    private bool Step()
    {
        var code = (PickleOpcode)Byte();
        switch (code)
        {
            case PickleOpcode.Stop:
                return false;
            case PickleOpcode.Frame:
                _ = Take(Length(BinaryPrimitives.ReadUInt64LittleEndian(Take(8))), advance: false);
                break;
            case PickleOpcode.Mark:
                budget.Take(MarkBytes);
                marks.Add(stack.Count);
                break;
            case PickleOpcode.None:
                Push(null);
                break;
            case PickleOpcode.NewTrue:
                Push(True);
                break;
            case PickleOpcode.NewFalse:
                Push(False);
                break;
            case PickleOpcode.BinInt1:
                Push(Byte());
                break;
            case PickleOpcode.BinInt2:
                Push(BinaryPrimitives.ReadUInt16LittleEndian(Take(2)));
                break;
            case PickleOpcode.BinInt:
                Push(BinaryPrimitives.ReadInt32LittleEndian(Take(4)));
                break;
            case PickleOpcode.Long1:
                PushLong(Byte());
                break;
            case PickleOpcode.BinFloat:
                budget.Take(BoxBytes);
                Push((object)BinaryPrimitives.ReadDoubleBigEndian(Take(8)));
                break;
            case PickleOpcode.ShortBinUnicode:
                PushText(Byte());
                break;
            case PickleOpcode.BinUnicode:
                PushText(Length(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                break;
            case PickleOpcode.BinUnicode8:
                PushText(Length(BinaryPrimitives.ReadUInt64LittleEndian(Take(8))));
                break;
            case PickleOpcode.ShortBinString:
                PushOldText(Byte());
                break;
            case PickleOpcode.BinString:
                PushOldText(Length(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                break;
            case PickleOpcode.ShortBinBytes:
                PushBytes(Byte());
                break;
            case PickleOpcode.BinBytes:
                PushBytes(Length(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                break;
            case PickleOpcode.BinBytes8:
                PushBytes(Length(BinaryPrimitives.ReadUInt64LittleEndian(Take(8))));
                break;
            default:
                StepObject(code);
                break;
        }

        return true;
    }

    /// <summary>The opcodes that work on what lies on the stack.</summary>
    private void StepObject(PickleOpcode code)
    {
        switch (code)
        {
            case PickleOpcode.EmptyTuple:
                Push(Array.Empty<object?>());
                break;
            case PickleOpcode.Tuple1 or PickleOpcode.Tuple2 or PickleOpcode.Tuple3:
                Push(PopTuple(code - PickleOpcode.Tuple1 + 1));
                break;
            case PickleOpcode.Tuple or PickleOpcode.FrozenSet:
                Push(PopTuple(CountToMark()));
                break;
            case PickleOpcode.EmptyList or PickleOpcode.EmptySet:
                budget.Take(ListBytes);
                Push(new List<object?>());
                break;
            case PickleOpcode.Append:
                Append(1);
                break;
            case PickleOpcode.Appends or PickleOpcode.AddItems:
                Append(CountToMark());
                break;
            case PickleOpcode.EmptyDict:
                Push(objects.Dictionary());
                break;
            case PickleOpcode.SetItem:
                SetItems(2);
                break;
            case PickleOpcode.SetItems:
                SetItems(CountToMark());
                break;
            case PickleOpcode.BinPut:
                Remember(Byte());
                break;
            case PickleOpcode.LongBinPut:
                Remember(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)));
                break;
            case PickleOpcode.Memoize:
                Remember(memo.Count);
                break;
            case PickleOpcode.BinGet:
                Recall(Byte());
                break;
            case PickleOpcode.LongBinGet:
                Recall(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)));
                break;
            case PickleOpcode.Global:
                PushGlobal(Line(), Line());
                break;
            case PickleOpcode.StackGlobal:
                PushGlobal(PopTuple(2));
                break;
            case PickleOpcode.BinPersId:
                Push(objects.Storage(Pop()));
                break;
            case PickleOpcode.Reduce:
                Make(isNew: false);
                break;
            case PickleOpcode.NewObj:
                Make(isNew: true);
                break;
            case PickleOpcode.Build:
                var state = Pop();
                Require(1);
                TorchObjects.SetState(stack[^1], state);
                break;
            default:
                throw new InvalidDataException(
                    $"the opcode {(Enum.IsDefined(code) ? code.ToString().ToUpperInvariant() : "unknown")} (0x{(byte)code:x2}) is not one " +
                    "that tensors need; refused, nothing was run");
        }
    }

    private byte Byte() => Take(1)[0];

    private int Length(ulong length) => length <= (ulong)(data.Length - position) ? (int)length
        : throw new InvalidDataException($"{length} bytes are announced, {data.Length - position} are left");

    private ReadOnlySpan<byte> Take(int count, bool advance = true)
    {
        if (count > data.Length - position)
        {
            throw new InvalidDataException("the pickle is cut off");
        }

        var bytes = data.AsSpan(position, count);
        position += advance ? count : 0;
        return bytes;
    }

    private string Line()
    {
        var rest = data.AsSpan(position);
        var length = rest[..Math.Min(rest.Length, LongestName)].IndexOf((byte)'\n');
        if (length < 0)
        {
            throw new InvalidDataException("a name is cut off, or longer than any that is known");
        }

        budget.Take(TextBytes + (2L * length));
        position += length + 1;
        return Encoding.Latin1.GetString(rest[..length]);
    }

    private void Push(object? value)
    {
        if (stack.Count == deepest)
        {
            budget.Take(StackBytes);
            deepest++;
        }

        stack.Add(value);
    }

    private void Push(long value)
    {
        if (value >= 0 && value < SmallIntegers.Length)
        {
            Push(SmallIntegers[value]);
        }
        else
        {
            budget.Take(BoxBytes);
            Push((object)value);
        }
    }

    /// <summary>An integer of 0 to 8 bytes, two's complement, little-endian.</summary>
    private void PushLong(int length)
    {
        if (length > sizeof(long))
        {
            throw new InvalidDataException($"an integer of {length} bytes; the longest has {sizeof(long)}");
        }

        var bytes = Take(length);
        var value = length > 0 && (bytes[^1] & 0x80) != 0 ? -1L : 0;
        for (var i = length - 1; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }

        Push(value);
    }

    private void PushText(int length)
    {
        var bytes = Take(length);
        budget.Take(TextBytes + (2L * length));
        try
        {
            Push(Utf8.GetString(bytes));
        }
        catch (DecoderFallbackException)
        {
            throw new InvalidDataException("a text is not UTF-8");
        }
    }

    /// <summary>Python 2's str: a text where it can be one.</summary>
    private void PushOldText(int length)
    {
        var bytes = Take(length);
        budget.Take(TextBytes + (2L * length));
        Push(System.Text.Unicode.Utf8.IsValid(bytes) ? Utf8.GetString(bytes) : Bytes);
    }

    private void PushBytes(int length)
    {
        _ = Take(length);
        Push(Bytes);
    }

    /// <summary>Requires so many objects on the stack above the last mark.</summary>
    private void Require(int count)
    {
        if (stack.Count - (marks.Count > 0 ? marks[^1] : 0) < count)
        {
            throw new InvalidDataException("an object is missing on the stack");
        }
    }

    private object? Pop()
    {
        Require(1);
        var value = stack[^1];
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    /// <summary>Takes objects from the stack; the one pushed first comes first.</summary>
    private object?[] PopTuple(int count)
    {
        Require(count);
        budget.Take(ArrayBytes + (8L * count));
        object?[] items = [.. CollectionsMarshal.AsSpan(stack)[^count..]];
        stack.RemoveRange(stack.Count - count, count);
        return items;
    }

    /// <summary>Removes the last mark and counts the objects above it.</summary>
    private int CountToMark()
    {
        if (marks.Count == 0)
        {
            throw new InvalidDataException("a mark is missing on the stack");
        }

        var count = stack.Count - marks[^1];
        marks.RemoveAt(marks.Count - 1);
        return count;
    }

    /// <summary>The topmost objects go into the list below them.</summary>
    private void Append(int count)
    {
        Require(count + 1);
        if (stack[^(count + 1)] is not List<object?> list)
        {
            throw new InvalidDataException($"items are added to {TorchObjects.Describe(stack[^(count + 1)])}, not to a list");
        }

        budget.Take((long)ItemBytes * count);
        list.AddRange(CollectionsMarshal.AsSpan(stack)[^count..]);
        stack.RemoveRange(stack.Count - count, count);
    }

    /// <summary>The topmost objects, keys and values by turns, go into the dictionary below them.</summary>
    private void SetItems(int count)
    {
        Require(count + 1);
        if (stack[^(count + 1)] is not TorchDictionary dictionary)
        {
            throw new InvalidDataException($"items are set in {TorchObjects.Describe(stack[^(count + 1)])}, not in a dictionary");
        }

        if (count % 2 != 0)
        {
            throw new InvalidDataException("a key comes without its value");
        }

        for (var i = stack.Count - count; i < stack.Count; i += 2)
        {
            budget.Take(EntryBytes);
            if (stack[i] is string key && !dictionary.TryAdd(key, stack[i + 1]))
            {
                throw new InvalidDataException($"the key {key} occurs twice in a dictionary");
            }
        }

        stack.RemoveRange(stack.Count - count, count);
    }

    private void Remember(long index)
    {
        Require(1);
        budget.Take(MemoBytes);
        memo[index] = stack[^1];
    }

    private void Recall(long index) =>
        Push(memo.TryGetValue(index, out var value) ? value : throw new InvalidDataException($"the memo has no entry {index}"));

    private void PushGlobal(string module, string name)
    {
        budget.Take(TextBytes + (2L * (module.Length + name.Length + 1)));
        var joined = $"{module}.{name}";
        Push(TorchGlobals.Find(joined) ?? throw new InvalidDataException(
            $"names {joined}, which is not among the names that tensors need; refused, nothing was run"));
    }

    private void PushGlobal(object?[] moduleAndName)
    {
        if (moduleAndName is not [string { Length: <= LongestName } module, string { Length: <= LongestName } name])
        {
            throw new InvalidDataException("a name is not two short texts");
        }

        PushGlobal(module, name);
    }

    private void Make(bool isNew)
    {
        var arguments = Pop();
        var callee = Pop();
        if (callee is not TorchGlobal global || arguments is not object?[] tuple)
        {
            throw new InvalidDataException($"{TorchObjects.Describe(callee)} is called with {TorchObjects.Describe(arguments)}");
        }

        Push(isNew ? objects.New(global, tuple) : objects.Call(global, tuple));
    }
}
