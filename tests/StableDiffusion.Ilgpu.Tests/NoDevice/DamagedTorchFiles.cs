using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>PyTorch files that are damaged, or made to do harm.</summary>
internal static class DamagedTorchFiles
{
    private const string Archive = TorchFileWriter.Archive;

    private static readonly Dictionary<string, byte[]> NoStorages = [];

    /// <summary>Opcodes that call, in all the ways that pickle has; Latin-1.</summary>
    private static readonly string[] Calls =
    [
        "cos\nsystem\n\u008c\u0002id\u0085R.", "cposix\nsystem\n\u008c\u0002id\u0085R.", "cnt\nsystem\n\u008c\u0002id\u0085R.",
        "csubprocess\nPopen\n\u008c\u0002id\u0085R.", "c__builtin__\neval\n\u008c\u00011\u0085R.", "cbuiltins\nexec\n\u008c\u00011\u0085R.",
        "cbuiltins\ngetattr\n\u008c\u0001a\u008c\u0001b\u0086R.", "c__builtin__\napply\n)R.", "cbuiltins\n__import__\n\u008c\u0002os\u0085R.",
        "ctorch\nload\n\u008c\u0001x\u0085R.", "ctorch.hub\nload\n)R.", "ctorch.storage\n_load_from_bytes\nC\u0001a\u0085R.", "crunpy\n_run_code\n)R.",
        "cwebbrowser\nopen\n\u008c\u0001x\u0085R.", "cnumpy\nload\n)R.", "cnumpy.core.multiarray\n_reconstruct\n)R.", "ccodecs\nopen\n)R.",
        "\u008c\u0002os\u008c\u0006system\u0093\u008c\u0002id\u0085R.", "\u008c\u0005posix\u008c\u0005popen\u0093)R.", "(ios\nsystem\n.",
        "(\u008c\u0002idios\nsystem\n.", "(cos\nsystem\n\u008c\u0002ido.", "cos\nsystem\n)\u0081.", "cos\nsystem\n)}\u0092.", "\u0082\u0001.",
        "\u0083\u0001\0.", "\u0084\u0001\0\0\0.", "Pid\n.", "ctorch\nFloatStorage\n)R.", "ctorch\nFloatStorage\n)\u0081.", "ccollections\nOrderedDict\n]\u0085R.",
        "ccollections\nOrderedDict\nNR.", "ctorch._utils\n_rebuild_tensor_v2\n)R.", "ctorch._utils\n_rebuild_tensor_v2\n(NK\0))\u0089}tR.",
        "ctorch.nn.modules.container\nParameterDict\n)\u0081}b.", "ctorch.nn.modules.container\nParameterDict\n)R.",
        "ctorch.nn.modules.container\nParameterDict\n)\u0081\u008c\u0001ab.", "]}b.", "K\u0001}b.", "}\u008c\u0001a\u008c\u0001b\u0086b.", "\u0097.", "\u0098.", "N0.", "N2.",
        "(N1.", "I1\n.", "L1L\n.", "F1\n.", "S'a'\n.", "Va\n.", "(d.", "(l.", "g0\n.", "Np0\n.", "\u0096\0\0\0\0\0\0\0\0.",
        "ctorch\n_utils._rebuild_tensor_v2.__globals__\n.", "ccollections\nOrderedDict.__init__.__globals__\n.",
    ];

    /// <summary>Pickles that are no pickles of tensors, or contradict themselves; Latin-1.</summary>
    private static readonly string[] Pickles =
    [
        "", ".", "N.", "].", "}.", ").", "K\u0001.", "\u008c\u0001a.", "NN.", "(.", "N", "}", "K", "X\xff\xff\xff\xff.", "\u008d\xff\xff\xff\xff\xff\xff\xff\xff.",
        "T\xff\xff\xff\u007f.", "U\xff.", "B\xff\xff\xff\u007f.", "C\xff.", "\u008e\xff\xff\xff\xff\xff\xff\xff\xff.", "\u0095\xff\xff\xff\xff\xff\xff\xff\xff.",
        "\u008a\xff.", "\u008b\xff\xff\xff\xff.", "h\0.", "j\0\0\0\0.", "q\0.", "\u0094.", "a.", "s.", "u.", "e.", "t.", "\u0085.", "\u0091.", "\u0090.", "R.", "\u0081.",
        "b.", "Q.", "\u0093.", "NQ.", "}(Nu.", "}N\u008c\u0001as.", "cabc", "c\n\n.", "X\u0001\0\0\0\xff.", "}}s.", "]]s.", "}Na.", "N.N.", "}\u008c\u0001a]s.",
        "(\u008c\u0007storagectorch\nFloatStorage\n\u008c\u00019\u008c\u0003cpuK\u0001tQ.",
        "(\u008c\u0007storagectorch\nFloatStorage\n\u008c\u0010../../etc/passwd\u008c\u0003cpuK\u0001tQ.", "\u0080\u0002N.",
    ];

    public static IEnumerable<(string Reader, string Name, byte[] Bytes)> All()
    {
        foreach (var body in Calls)
        {
            yield return ("torch", $"call {Show(body)}", Pickle($"\u0080\u0002{body}"));
            yield return ("torch", $"call inside a dictionary {Show(body)}", Pickle($"\u0080\u0002}}\u008c\u0001k{body[..^1]}s."));
        }

        foreach (var body in Pickles)
        {
            yield return ("torch", $"pickle {Show(body)}", Pickle($"\u0080\u0002{body}"));
        }

        foreach (var (name, bytes) in Shapes().Concat(Abuse()).Concat(Zips()).Concat(Cut()))
        {
            yield return ("torch", name, bytes);
        }
    }

    /// <summary>Tensors that reach beyond their storages, or say what cannot be.</summary>
    private static IEnumerable<(string Name, byte[] Bytes)> Shapes()
    {
        (long Start, long[] Shape, long[] Strides)[] views =
        [
            (0, [5], [1]), (1, [4], [1]), (4, [1], [1]), (-1, [1], [1]), (long.MaxValue, [1], [1]), (0, [-1], [1]), (0, [2, 2], [1]), (0, [2], [2, 1]), (0, [2], [-1]),
            (0, [2, 2], [3, 1]), (0, [2], [4]), (0, [2], [long.MaxValue]), (0, [long.MaxValue], [0]), (0, [1L << 40], [0]), (0, [2, 3], [0, 1]), (0, [3, 2], [1, 1]),
            (0, [1L << 32, 1L << 32], [1, 1]), (0, [long.MaxValue, long.MaxValue], [1, 1]), (0, [1L << 62, 4], [0, 0]), (1L << 62, [1], [1]),
            (0, [.. Enumerable.Repeat(1L, 17)], [.. Enumerable.Repeat(1L, 17)]), (0, [.. Enumerable.Repeat(2L, 64)], [.. Enumerable.Repeat(0L, 64)]),
        ];
        var plain = SampleTensor.Floats("0", [1, 2, 3, 4], 4);
        foreach (var (start, shape, strides) in views)
        {
            var tensor = plain with { Start = start, Shape = shape, Strides = strides };
            yield return ($"view from {start} [{string.Join(",", shape)}] [{string.Join(",", strides)}]", TorchFileWriter.Write(new Dictionary<string, object?> { ["a"] = tensor }));
        }

        var (pickle, storages) = PickleWriter.Write(new Dictionary<string, object?> { ["a"] = plain });
        foreach (var length in new[] { 0, 1, 15, 17, 20, 1000 })
        {
            yield return ($"storage of {length} bytes instead of 16", TorchFileWriter.Zip(pickle, new Dictionary<string, byte[]> { ["0"] = new byte[length] }).ToArray());
        }

        yield return ("no storage", TorchFileWriter.Zip(pickle, NoStorages).ToArray());
        yield return ("one storage with two types", TorchFileWriter.Write(
            new Dictionary<string, object?> { ["a"] = plain, ["b"] = plain with { Type = TensorType.I32 } }));
        yield return ("one name twice", TorchFileWriter.Write(
            new Dictionary<string, object?> { ["a.b"] = plain, ["a"] = new Dictionary<string, object?> { ["b"] = plain } }));
        yield return ("only numbers", TorchFileWriter.Write(new Dictionary<string, object?> { ["state_dict"] = new Dictionary<string, object?> { ["a"] = 1 } }));
        yield return ("a tensor alone", TorchFileWriter.Write(plain));
        yield return ("a list of tensors", TorchFileWriter.Write(new List<object?> { plain }));
        foreach (var name in new[] { "ComplexFloatStorage", "QInt8Storage", "XStorage" })
        {
            var bytes = Encoding.Latin1.GetString(pickle).Replace("FloatStorage", name, StringComparison.Ordinal);
            yield return (name, TorchFileWriter.Zip(Encoding.Latin1.GetBytes(bytes), storages).ToArray());
        }
    }

    /// <summary>Few bytes that describe much.</summary>
    private static IEnumerable<(string Name, byte[] Bytes)> Abuse()
    {
        const int many = 1_000_000;
        foreach (var unit in new[] { "]", "}", "(", ")", "N", "K\0", "J\0\0\0\u0080", "G\0\0\0\0\0\0\0\u0001", "\u008c\0", "X\0\0\0\0", "(t", "]\u0085", "ccollections\nOrderedDict\n)R" })
        {
            yield return ($"{many} times {Show(unit)}", Pickle($"\u0080\u0002{string.Concat(Enumerable.Repeat(unit, many))}."));
        }

        yield return ("tuples in tuples", Pickle($"\u0080\u0002N{new string('\u0085', many)}."));
        yield return ("lists in lists", Pickle($"\u0080\u0002}}\u008c\u0001k{new string(']', many)}{new string('a', many - 1)}s."));
        yield return ("lists in lists, twenty", Pickle($"\u0080\u0002}}\u008c\u0001k{new string(']', 20)}{new string('a', 19)}s."));
        yield return ("a memo of a million", Pickle($"\u0080\u0002N{string.Concat(Enumerable.Repeat('\u0094', many))}."));
        yield return ("a memo of large numbers", Pickle(
            $"\u0080\u0002N{string.Concat(Enumerable.Range(0, many / 5).Select(i => $"r{(char)(i & 255)}{(char)((i >> 8) & 255)}{(char)(i >> 16)}\xff"))}."));

        // Each list holds the one before ten times; the last would be 10^n items.
        foreach (var levels in new[] { 5, 9, 15, 30 })
        {
            var laughs = new StringBuilder("\u0080\u0002}\u008c\u0004lolsN\u0085q\0");
            for (var level = 1; level <= levels; level++)
            {
                laughs.Append('(').Insert(laughs.Length, $"h{(char)(level - 1)}", 10).Append($"tq{(char)level}");
            }

            yield return ($"ten to the {levels} laughs", Pickle(laughs.Append("s.").ToString()));
        }

        yield return ("a dictionary that holds itself", Pickle("\u0080\u0002}q\0\u008c\u0001ah\0s."));
        yield return ("a list that holds itself twice", Pickle("\u0080\u0002}\u008c\u0001a]q\0(h\0h\0es."));
        yield return ("a list that swallows itself", Pickle("\u0080\u0002}\u008c\u0001a]q\0" + string.Concat(Enumerable.Repeat("h\0a", 1000)) + "s."));
    }

    /// <summary>Archives that lie.</summary>
    private static IEnumerable<(string Name, byte[] Bytes)> Zips()
    {
        var (pickle, storages) = PickleWriter.Write(new Dictionary<string, object?>
        {
            ["a"] = SampleTensor.Floats("0", [1, 2, 3, 4], 4),
            ["b"] = SampleTensor.Floats("1", [5, 6, 7, 8], 4),
        });
        var (first, second) = (storages["0"], storages["1"]);
        ZipWriter Start() => new ZipWriter().Add($"{Archive}/data.pkl", pickle).Add($"{Archive}/data/0", first);

        yield return ("not a zip", "torch.save"u8.ToArray());
        yield return ("a page instead of a file", "<!DOCTYPE html><html>Not found</html>"u8.ToArray());
        yield return ("empty", []);
        yield return ("two letters", "PK"u8.ToArray());
        yield return ("four letters", "PK\u0003\u0004"u8.ToArray());
        yield return ("an empty archive", new ZipWriter().ToArray());
        yield return ("the old format", [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]);
        yield return ("an archive without a pickle", new ZipWriter().Add("word/document.xml", pickle).ToArray());
        yield return ("a pickle in the wrong place", new ZipWriter().Add("a/b/data.pkl", pickle).ToArray());
        yield return ("two pickles", Start().Add("other/data.pkl", pickle).ToArray());
        yield return ("a program", Start().Add($"{Archive}/constants.pkl", pickle).Add($"{Archive}/code/x.py", pickle).ToArray());
        yield return ("big-endian", Start().Add($"{Archive}/data/1", second).Add($"{Archive}/byteorder", "big"u8.ToArray()).ToArray());
        yield return ("a long byte order", Start().Add($"{Archive}/data/1", second).Add($"{Archive}/byteorder", new byte[100_000]).ToArray());
        yield return ("a name twice", Start().Add($"{Archive}/data/1", second).Add($"{Archive}/data/1", second).ToArray());
        yield return ("encrypted", Start().Add($"{Archive}/data/1", second, flags: 9).ToArray());
        yield return ("another method", Start().Add($"{Archive}/data/1", second, method: 99).ToArray());
        yield return ("another name in front", Start().Add($"{Archive}/data/1", second, localName: $"{Archive}/data/x").ToArray());
        yield return ("a wrong checksum", new ZipWriter().Add($"{Archive}/data.pkl", pickle, crc: 1).Add($"{Archive}/data/0", first).ToArray());
        yield return ("one entry over the other", Start().Add($"{Archive}/data/1", second, offset: 64).ToArray());
        foreach (var offset in new[] { 0, 1, 64, 1L << 31, uint.MaxValue - 1L, 1L << 40, long.MaxValue })
        {
            yield return ($"an entry at {offset}", Start().Add($"{Archive}/data/1", second, offset: offset).ToArray());
            yield return ($"the pickle at {offset + 1}", new ZipWriter().Add($"{Archive}/data.pkl", pickle, offset: offset + (offset == long.MaxValue ? 0 : 1)).ToArray());
        }

        foreach (var length in new[] { 0, 15, 17, 1000, 1L << 31, 1L << 33, 1L << 50, long.MaxValue })
        {
            yield return ($"an entry of {length} bytes", Start().Add($"{Archive}/data/1", second, length: length, stored: length).ToArray());
            yield return ($"an entry of {length} bytes in 16", Start().Add($"{Archive}/data/1", second, length: length).ToArray());
            yield return ($"a pickle of {length} bytes", new ZipWriter().Add($"{Archive}/data.pkl", pickle, length: length, stored: length).ToArray());
        }

        foreach (var count in new[] { 0, 1, 3, 65535, long.MaxValue, -1 })
        {
            yield return ($"a directory of {count} entries", Start().ToArray(entries: count));
        }

        // 100 MB of zeros in about 100 KB.
        var zeros = new MemoryStream();
        using (var deflate = new DeflateStream(zeros, CompressionLevel.Optimal, leaveOpen: true))
        {
            for (var i = 0; i < 100; i++)
            {
                deflate.Write(new byte[1_000_000]);
            }
        }

        yield return ("a bomb for a pickle", new ZipWriter().Add($"{Archive}/data.pkl", zeros.ToArray(), method: 8, length: 100_000_000).ToArray());
        yield return ("a bomb for a storage", Start().Add($"{Archive}/data/1", zeros.ToArray(), method: 8, length: 100_000_000).ToArray());
        yield return ("a bomb for the byte order", Start().Add($"{Archive}/byteorder", zeros.ToArray(), method: 8, length: 100_000_000).ToArray());

        var crowd = Start();
        for (var i = 0; i < 100_000; i++)
        {
            crowd.Add($"{i:x}", []);
        }

        yield return ("a hundred thousand entries and no storage", crowd.ToArray());
    }

    /// <summary>A good file cut off, and with each of its important bits turned.</summary>
    private static IEnumerable<(string Name, byte[] Bytes)> Cut()
    {
        var whole = TorchFileWriter.Write(new Dictionary<string, object?> { ["a"] = SampleTensor.Floats("0", [1, 2, 3, 4], 4) });
        for (var length = 0; length < whole.Length; length += 1 + (length / 16))
        {
            yield return ($"cut off at {length}", whole[..length]);
        }

        // Every bit of the pickle is under its checksum.
        var start = whole.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x80, 2, (byte)'}']);
        for (var at = start; at < start + 40; at++)
        {
            yield return ($"bit {at % 8} of byte {at} turned", Turned(whole, at, at % 8));
        }

        // The end record, its zip64 form and the locator: signature, counts, length and offset. Without the locator the end record serves.
        var end = whole.Length - 22;
        foreach (var at in new[] { end, end + 1, end + 20, end - 12, end - 11, end - 6, end - 76, end - 44, end - 43, end - 36, end - 35, end - 28, end - 27, end - 21 })
        {
            yield return ($"bit 0 of byte {at} turned", Turned(whole, at, 0));
            yield return ($"bit 7 of byte {at} turned", Turned(whole, at, 7));
        }
    }

    private static byte[] Turned(byte[] whole, int at, int bit)
    {
        var bytes = whole.ToArray();
        bytes[at] ^= (byte)(1 << bit);
        return bytes;
    }

    private static byte[] Pickle(string latin1) => TorchFileWriter.Zip(Encoding.Latin1.GetBytes(latin1), NoStorages).ToArray();

    private static string Show(string text) => string.Concat(text.Take(40).Select(c => c is >= ' ' and <= '~' ? $"{c}" : $"\\{(int)c:x2}"));
}
