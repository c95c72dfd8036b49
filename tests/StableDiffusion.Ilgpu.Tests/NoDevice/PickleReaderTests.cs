using System.Text;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The pickle reader opcode by opcode, on hand-made bytes.</summary>
public sealed class PickleReaderTests
{
    private static object? Read(params byte[] body)
    {
        var budget = new AllocationBudget("file", body.Length);
        return PickleReader.Read("file: data.pkl", [0x80, 2, .. body, (byte)'.'], new TorchObjects(_ => null, budget), budget);
    }

    private static byte[] Bytes(string latin1) => Encoding.Latin1.GetBytes(latin1);

    private static void Refused(string body, params string[] parts) =>
        WeightsTestFiles.Refused(() => Read(Bytes(body)), ["file: data.pkl, byte ", .. parts]);

    public static TheoryData<string, object?> Scalars => new()
    {
        { "N", null }, { "\u0088", true }, { "\u0089", false }, { "K\u00ff", 255L }, { "M\u00ff\u00ff", 65535L }, { "J\u00fe\u00ff\u00ff\u00ff", -2L },
        { "\u008a\0", 0L }, { "\u008a\u0001\u0080", -128L }, { "\u008a\u0002\u0000\u0080", -32768L }, { "\u008a\u0005\0\0\0\0\u0001", 1L << 32 },
        { "\u008a\u0008\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u007f", long.MaxValue }, { "G\u003f\u00f8\0\0\0\0\0\0", 1.5 },
        { "X\u0002\0\0\0\u00c3\u00a9", "é" }, { "\u008c\u0001q", "q" }, { "\u008d\u0001\0\0\0\0\0\0\0r", "r" }, { "U\u0001s", "s" },
        { "T\u0001\0\0\0t", "t" }, { "\u0095\u0002\0\0\0\0\0\0\0N", null }, { "X\0\0\0\0q\u0005h\u0005\u0086h\u0005\u0086", null },
    };

    [Theory]
    [MemberData(nameof(Scalars))]
    public void Numbers_and_texts(string body, object? expected)
    {
        var value = Read(Bytes(body));
        if (value is not object?[])
        {
            Assert.Equal(expected, value);
        }
    }

    [Fact]
    public void Containers_and_memo()
    {
        Assert.Equal([1L, 2L, 3L], (object?[])Read(Bytes("K\u0001K\u0002K\u0003\u0087"))!);
        Assert.Equal([1L, 2L, 3L, 4L], (object?[])Read(Bytes("(K\u0001K\u0002K\u0003K\u0004t"))!);
        Assert.Equal([1L], (object?[])Read(Bytes("(K\u0001\u0091"))!);
        Assert.Equal([1L, 2L], (List<object?>)Read(Bytes("]K\u0001a(K\u0002e"))!);
        Assert.Equal([1L], (List<object?>)Read(Bytes("\u008f(K\u0001\u0090"))!);
        var dictionary = (TorchDictionary)Read(Bytes("}\u008c\u0001aK\u0001s(\u008c\u0001bK\u0002K\u0007K\u0003u"))!;
        Assert.Equal([("a", (object?)1L), ("b", 2L)], dictionary.Select(e => (e.Key, e.Value)));

        // Memo by number, long number and in turn; a list that holds itself.
        Assert.Equal(["a", "a", "a"], (object?[])Read(Bytes("\u008c\u0001aq\u0007h\u0007r\u00ff\u00ff\0\0j\u00ff\u00ff\0\0\u0087"))!);
        Assert.Equal(["a", "a"], (object?[])Read(Bytes("\u008c\u0001a\u0094h\0\u0086"))!);
        var self = (List<object?>)Read(Bytes("]q\0h\0a"))!;
        Assert.Same(self, self[0]);
    }

    [Fact]
    public void Known_names_stand_for_what_they_are()
    {
        Assert.IsType<TorchDictionary>(Read(Bytes("ccollections\nOrderedDict\n)R")));
        Assert.IsType<TorchDictionary>(Read(Bytes("\u008c\u000bcollections\u008c\u000bOrderedDict\u0093)\u0081")));
        Assert.Equal([1L], (object?[])Read(Bytes("ctorch\nSize\nK\u0001\u0085\u0085R"))!);
        Assert.Equal([1L], (List<object?>)Read(Bytes("c__builtin__\nfrozenset\n]K\u0001a\u0085R"))!);
        Assert.Equal("numpy.dtype", ((TorchOpaque)Read(Bytes("cnumpy\ndtype\nK\u0001\u0085RN\u0062"))!).Name);
        Assert.Equal("bytes", ((TorchOpaque)Read(Bytes("C\u0002\u00ff\u00fe"))!).Name);
        Assert.Equal("bytes", ((TorchOpaque)Read(Bytes("U\u0002\u00ff\u00fe"))!).Name);
        Assert.Equal("a large integer", ((TorchOpaque)Read(Bytes("\u008a\u0009\0\0\0\0\0\0\0\0\u0001"))!).Name);

        // A dictionary and a list of a class of their own keep nothing: items one by one, and many.
        Assert.Equal(
            "collections.defaultdict",
            ((TorchOpaque)Read(Bytes("ccollections\ndefaultdict\nc__builtin__\ndict\n\u0085RK\u0001K\u0002s(K\u0003K\u0004u"))!).Name);
        Assert.Equal("omegaconf.x", ((TorchOpaque)Read(Bytes("comegaconf\nx\n)\u0081K\u0001a(K\u0002K\u0003e"))!).Name);
    }

    [Theory]
    [InlineData("cos\nsystem\n\u008c\u0002id\u0085R", "names os.system", "nothing was run")]
    [InlineData("cposix\nsystem\n", "names posix.system")]
    [InlineData("c__builtin__\neval\n", "names __builtin__.eval")]
    [InlineData("cbuiltins\nexec\n", "names builtins.exec")]
    [InlineData("cbuiltins\ngetattr\n", "names builtins.getattr")]
    [InlineData("ctorch\nload\n", "names torch.load")]
    [InlineData("ctorch\n_utils._rebuild_tensor_v2.__globals__\n", "names torch._utils._rebuild_tensor_v2.__globals__")]
    [InlineData("\u008c\u000asubprocess\u008c\u0005Popen\u0093", "names subprocess.Popen")]
    [InlineData("cevil\u001b[2J\nname\n", "names evil [2J.name")]
    [InlineData("ctorch\nSize\n)R", "torch.Size is called with arguments that torch.save does not write")]
    [InlineData("ctorch\nFloatStorage\n)R", "torch.FloatStorage is called")]
    [InlineData("ctorch\nFloatStorage\n)\u0081", "an object of torch.FloatStorage is made")]
    [InlineData("ctorch._utils\n_rebuild_tensor_v2\n(NK\0))\u0089}tR", "torch._utils._rebuild_tensor_v2 is called with arguments")]
    [InlineData("\u008c\u0002id)R", "a text is called with a list")]
    [InlineData("ccollections\nOrderedDict\nNR", "collections.OrderedDict is called with None")]
    [InlineData("]}b", "a state is given to a list")]
    [InlineData("NQ", "a persistent id is not a storage's")]
    [InlineData("(\u008c\u0007storagectorch\nFloatStorage\n\u008c\u00010\u008c\u0003cpuK\u0001tQ", "the storage 0 is not in the file")]
    [InlineData("NN", "ends with 2 objects")]
    [InlineData("", "ends with 0 objects")]
    [InlineData("(N", "ends with 1 objects")]
    [InlineData("N.N", "2 bytes follow the end")]
    [InlineData("NNs", "an object is missing")]
    [InlineData("]NNs", "items are set in a list")]
    [InlineData("}Na", "items are added to a dictionary")]
    [InlineData("}(Nu", "a key comes without its value")]
    [InlineData("}\u008c\u0001aN\u008c\u0001aNu", "a mark is missing")]
    [InlineData("}(\u008c\u0001aN\u008c\u0001aNu", "the key a occurs twice")]
    [InlineData("N(\u0086", "an object is missing")]
    [InlineData("q\0", "an object is missing")]
    [InlineData("h\u0007", "the memo has no entry 7")]
    [InlineData("K", "the pickle ends with", "0 objects")]
    [InlineData("X\u00ff\u00ff\u00ff\u00ff", "4294967295 bytes are announced, 1 are left")]
    [InlineData("\u008d\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff", "18446744073709551615 bytes are announced")]
    [InlineData("\u0095\u00ff\0\0\0\0\0\0\0N", "255 bytes are announced")]
    [InlineData("\u008a\u0009\0\0\0\0\0\0\0", "the pickle is cut off")]
    [InlineData("X\u0001\0\0\0\u00ff", "a text is not UTF-8")]
    [InlineData("comegaconf.dictconfig\nDictConfig\nK\u0001s", "an object is missing")]
    [InlineData("ctorch._tensor\n_rebuild_from_type_v2\n(cnumpy\ndtype\nctorch\nTensor\n)}tR", "torch._tensor._rebuild_from_type_v2 is called with")]
    [InlineData("ctorch._utils\n_rebuild_tensor_v3\n(NK\0))\u0089}ctorch\nfloat8_e5m2\ntR", "torch._utils._rebuild_tensor_v3 is called with")]
    [InlineData("cpytorch_lightning_evil\nx\n", "names pytorch_lightning_evil.x")]
    [InlineData("cnowhere", "a name is cut off")]
    [InlineData("NN\u0093", "a name is not two short texts")]
    internal void What_is_wrong_is_refused(string body, params string[] parts)
    {
        if (body == "K")
        {
            // The stop byte is taken for the number, so that the pickle is cut off.
            WeightsTestFiles.Refused(() => Read(Bytes(body)), "the pickle is cut off");
            return;
        }

        Refused(body, parts);
    }

    [Fact]
    public void Every_opcode_is_read_or_refused_by_its_name()
    {
        PickleOpcode[] read =
        [
            PickleOpcode.Proto, PickleOpcode.Stop, PickleOpcode.Frame, PickleOpcode.Mark, PickleOpcode.None, PickleOpcode.NewTrue,
            PickleOpcode.NewFalse, PickleOpcode.BinInt, PickleOpcode.BinInt1, PickleOpcode.BinInt2, PickleOpcode.Long1, PickleOpcode.BinFloat,
            PickleOpcode.ShortBinUnicode, PickleOpcode.BinUnicode, PickleOpcode.BinUnicode8, PickleOpcode.ShortBinString,
            PickleOpcode.BinString, PickleOpcode.ShortBinBytes, PickleOpcode.BinBytes, PickleOpcode.BinBytes8, PickleOpcode.EmptyTuple,
            PickleOpcode.Tuple1, PickleOpcode.Tuple2, PickleOpcode.Tuple3, PickleOpcode.Tuple, PickleOpcode.FrozenSet, PickleOpcode.EmptyList,
            PickleOpcode.EmptySet, PickleOpcode.Append, PickleOpcode.Appends, PickleOpcode.AddItems, PickleOpcode.EmptyDict,
            PickleOpcode.SetItem, PickleOpcode.SetItems, PickleOpcode.BinPut, PickleOpcode.LongBinPut, PickleOpcode.Memoize,
            PickleOpcode.BinGet, PickleOpcode.LongBinGet, PickleOpcode.Global, PickleOpcode.StackGlobal, PickleOpcode.BinPersId,
            PickleOpcode.Reduce, PickleOpcode.NewObj, PickleOpcode.Build,
        ];
        for (var code = 0; code < 256; code++)
        {
            var opcode = (PickleOpcode)code;
            if (!read.Contains(opcode))
            {
                var name = Enum.IsDefined(opcode) ? opcode.ToString().ToUpperInvariant() : "unknown";
                WeightsTestFiles.Refused(() => Read((byte)code), $"the opcode {name} (0x{code:x2})");
            }
        }

        WeightsTestFiles.Refused(() => Read(0x80, 2), "the opcode PROTO");
    }

    [Theory]
    [InlineData(new byte[] { }, "the pickle is cut off")]
    [InlineData(new byte[] { (byte)'N', (byte)'.' }, "not a pickle of protocol 2")]
    [InlineData(new byte[] { 0x80, 1, (byte)'.' }, "pickle protocol 1; read are 2 to 5")]
    [InlineData(new byte[] { 0x80, 6, (byte)'.' }, "pickle protocol 6")]
    public void Other_protocols_are_refused(byte[] pickle, string message)
    {
        var budget = new AllocationBudget("file", pickle.Length);
        WeightsTestFiles.Refused(() => PickleReader.Read("file", pickle, new TorchObjects(_ => null, budget), budget), message);
    }
}
