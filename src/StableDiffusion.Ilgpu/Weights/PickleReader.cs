using System.Buffers.Binary;
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

    // Estimates from above of what each takes.
    private const int BoxBytes = 24, ListBytes = 64, TextBytes = 32, GlobalBytes = 48;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly TorchOpaque Bytes = new("bytes"), LargeInteger = new("a large integer");
    private static readonly object True = true, False = false;
    private static readonly object[] SmallIntegers = [.. Enumerable.Range(0, 1025).Select(i => (object)(long)i)];

    private readonly byte[] data;
    private readonly TorchObjects objects;
    private readonly AllocationBudget budget;
    private readonly PickleStack stack;
    private int position;

    private PickleReader(byte[] data, TorchObjects objects, AllocationBudget budget) =>
        (this.data, this.objects, this.budget, stack) = (data, objects, budget, new PickleStack(budget));

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
        stack.Count != 1 || stack.Marks > 0 ? throw new InvalidDataException($"the pickle ends with {stack.Count} objects instead of one")
        : position != data.Length ? throw new InvalidDataException($"{data.Length - position} bytes follow the end of the pickle")
        : stack.Top;

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
                stack.Mark();
                break;
            case PickleOpcode.None:
                stack.Push(null);
                break;
            case PickleOpcode.NewTrue:
                stack.Push(True);
                break;
            case PickleOpcode.NewFalse:
                stack.Push(False);
                break;
            case PickleOpcode.BinInt1:
                PushInteger(Byte());
                break;
            case PickleOpcode.BinInt2:
                PushInteger(BinaryPrimitives.ReadUInt16LittleEndian(Take(2)));
                break;
            case PickleOpcode.BinInt:
                PushInteger(BinaryPrimitives.ReadInt32LittleEndian(Take(4)));
                break;
            case PickleOpcode.Long1:
                PushLong(Byte());
                break;
            case PickleOpcode.BinFloat:
                budget.Take(BoxBytes);
                stack.Push((object)BinaryPrimitives.ReadDoubleBigEndian(Take(8)));
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
                stack.Push(Array.Empty<object?>());
                break;
            case PickleOpcode.Tuple1 or PickleOpcode.Tuple2 or PickleOpcode.Tuple3:
                stack.Push(stack.PopTuple(code - PickleOpcode.Tuple1 + 1));
                break;
            case PickleOpcode.Tuple or PickleOpcode.FrozenSet:
                stack.Push(stack.PopTuple(stack.CountToMark()));
                break;
            case PickleOpcode.EmptyList or PickleOpcode.EmptySet:
                budget.Take(ListBytes);
                stack.Push(new List<object?>());
                break;
            case PickleOpcode.Append:
                stack.Append(1);
                break;
            case PickleOpcode.Appends or PickleOpcode.AddItems:
                stack.Append(stack.CountToMark());
                break;
            case PickleOpcode.EmptyDict:
                stack.Push(objects.Dictionary());
                break;
            case PickleOpcode.SetItem:
                stack.SetItems(2);
                break;
            case PickleOpcode.SetItems:
                stack.SetItems(stack.CountToMark());
                break;
            case PickleOpcode.BinPut:
                stack.Remember(Byte());
                break;
            case PickleOpcode.LongBinPut:
                stack.Remember(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)));
                break;
            case PickleOpcode.Memoize:
                stack.Remember(stack.Remembered);
                break;
            case PickleOpcode.BinGet:
                stack.Recall(Byte());
                break;
            case PickleOpcode.LongBinGet:
                stack.Recall(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)));
                break;
            case PickleOpcode.Global:
                PushGlobal(Line(), Line());
                break;
            case PickleOpcode.StackGlobal:
                PushGlobal(stack.PopTuple(2));
                break;
            case PickleOpcode.BinPersId:
                stack.Push(objects.Storage(stack.Pop()));
                break;
            case PickleOpcode.Reduce:
                Make(isNew: false);
                break;
            case PickleOpcode.NewObj:
                Make(isNew: true);
                break;
            case PickleOpcode.Build:
                var state = stack.Pop();
                TorchObjects.SetState(stack.Top, state);
                break;
            default:
                throw new InvalidDataException(
                    $"the opcode {(Enum.IsDefined(code) ? code.ToString().ToUpperInvariant() : "unknown")} (0x{(byte)code:x2}) " +
                    "is not one that tensors need; refused, nothing was run");
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

    private void PushInteger(long value)
    {
        if (value >= 0 && value < SmallIntegers.Length)
        {
            stack.Push(SmallIntegers[value]);
        }
        else
        {
            budget.Take(BoxBytes);
            stack.Push((object)value);
        }
    }

    /// <summary>An integer, two's complement, little-endian. One of more than 8 bytes is the state of a random generator, or its seed.</summary>
    private void PushLong(int length)
    {
        var bytes = Take(length);
        if (length > sizeof(long))
        {
            stack.Push(LargeInteger);
            return;
        }

        var value = length > 0 && (bytes[^1] & 0x80) != 0 ? -1L : 0;
        for (var i = length - 1; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }

        PushInteger(value);
    }

    private void PushText(int length)
    {
        var bytes = Take(length);
        budget.Take(TextBytes + (2L * length));
        try
        {
            stack.Push(Utf8.GetString(bytes));
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
        stack.Push(System.Text.Unicode.Utf8.IsValid(bytes) ? Utf8.GetString(bytes) : Bytes);
    }

    private void PushBytes(int length)
    {
        _ = Take(length);
        stack.Push(Bytes);
    }

    private void PushGlobal(string module, string name)
    {
        budget.Take(TextBytes + GlobalBytes + (2L * (module.Length + name.Length + 1)));
        var joined = $"{module}.{name}";
        stack.Push(TorchGlobals.Find(joined) ?? throw new InvalidDataException(
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
        var arguments = stack.Pop();
        var callee = stack.Pop();
        if (callee is not TorchGlobal global || arguments is not object?[] tuple)
        {
            throw new InvalidDataException($"{TorchObjects.Describe(callee)} is called with {TorchObjects.Describe(arguments)}");
        }

        stack.Push(isNew ? objects.New(global, tuple) : objects.Call(global, tuple));
    }
}
