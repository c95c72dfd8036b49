using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>
/// A library for Linux's loader whose functions jump to what its table points to (ELF, x86-64; layout by the System V ABI). So managed code takes the place of
/// a driver without a compiler for another language.
/// </summary>
internal static class SharedObject
{
    /// <summary>The table: one address a function, in the order of their names. It begins empty.</summary>
    public const string Table = "functions";

    private const int HeaderBytes = 64;
    private const int SegmentBytes = 56;
    private const int SymbolBytes = 24;
    private const int StubBytes = 8;
    private const int Page = 4096;
    private const int LoadSegment = 1; // PT_LOAD
    private const int DynamicSegment = 2; // PT_DYNAMIC
    private const int Executable = 5; // PF_R | PF_X
    private const int Writable = 6; // PF_R | PF_W

    /// <param name="name">What others load it by, once it is loaded from any file.</param>
    /// <param name="functions">What it exports.</param>
    public static byte[] Create(string name, IReadOnlyList<string> functions)
    {
        var strings = new List<byte> { 0 };
        var names = functions.Append(Table).Select(AddString).ToArray();
        var nameAt = AddString(name);

        // What is only read and run comes first, in memory as in the file; then, on a page of its own, what is written.
        var symbols = HeaderBytes + (3 * SegmentBytes);
        var text = symbols + (SymbolBytes * (names.Length + 1));
        var hash = text + (StubBytes * functions.Count);
        var stringsAt = hash + (4 * (3 + names.Length + 1));
        var table = (stringsAt + strings.Count + Page - 1) / Page * Page;
        var dynamic = table + (8 * functions.Count);
        (int Tag, int Value)[] entries =
        [
            (14, nameAt), // DT_SONAME
            (4, hash), // DT_HASH
            (5, stringsAt), // DT_STRTAB
            (10, strings.Count), // DT_STRSZ
            (6, symbols), // DT_SYMTAB
            (11, SymbolBytes), // DT_SYMENT
            (0, 0),
        ];
        var file = new byte[dynamic + (16 * entries.Length)];

        // 64-bit, little-endian; a shared object for x86-64 with three segments and no sections.
        "\u007fELF\u0002\u0001\u0001"u8.CopyTo(file);
        Put(2, 16, 3);
        Put(2, 18, 62);
        Put(4, 20, 1);
        Put(8, 32, HeaderBytes);
        Put(2, 52, HeaderBytes);
        Put(2, 54, SegmentBytes);
        Put(2, 56, 3);
        PutSegment(0, LoadSegment, Executable, 0, stringsAt + strings.Count, Page);
        PutSegment(1, LoadSegment, Writable, table, file.Length - table, Page);
        PutSegment(2, DynamicSegment, Writable, dynamic, file.Length - dynamic, 8);

        for (var i = 0; i < names.Length; i++)
        {
            var isTable = i == functions.Count;
            var at = symbols + (SymbolBytes * (i + 1));
            Put(4, at, names[i]);
            file[at + 4] = (byte)(0x10 | (isTable ? 1 : 2)); // STB_GLOBAL; STT_OBJECT or STT_FUNC
            Put(2, at + 6, 1);
            Put(8, at + 8, isTable ? table : text + (StubBytes * i));
            Put(8, at + 16, isTable ? 8 * functions.Count : StubBytes);
        }

        // jmp [rip + distance], from the end of the instruction.
        for (var i = 0; i < functions.Count; i++)
        {
            var at = text + (StubBytes * i);
            (file[at], file[at + 1]) = (0xFF, 0x25);
            Put(4, at + 2, table + (8 * i) - (at + 6));
        }

        // One bucket: all symbols in a chain.
        Put(4, hash, 1);
        Put(4, hash + 4, names.Length + 1);
        Put(4, hash + 8, 1);
        for (var i = 1; i < names.Length; i++)
        {
            Put(4, hash + 12 + (4 * i), i + 1);
        }

        strings.CopyTo(file, stringsAt);
        for (var i = 0; i < entries.Length; i++)
        {
            Put(8, dynamic + (16 * i), entries[i].Tag);
            Put(8, dynamic + (16 * i) + 8, entries[i].Value);
        }

        return file;

        int AddString(string value)
        {
            var at = strings.Count;
            strings.AddRange([.. Encoding.ASCII.GetBytes(value), 0]);
            return at;
        }

        void Put(int bytes, int at, int value)
        {
            var target = file.AsSpan(at, bytes);
            switch (bytes)
            {
                case 2: BinaryPrimitives.WriteInt16LittleEndian(target, (short)value); break;
                case 4: BinaryPrimitives.WriteInt32LittleEndian(target, value); break;
                default: BinaryPrimitives.WriteInt64LittleEndian(target, value); break;
            }
        }

        void PutSegment(int index, int kind, int access, int start, int length, int alignment)
        {
            var at = HeaderBytes + (SegmentBytes * index);
            Put(4, at, kind);
            Put(4, at + 4, access);
            Put(8, at + 8, start);
            Put(8, at + 16, start);
            Put(8, at + 24, start);
            Put(8, at + 32, length);
            Put(8, at + 40, length);
            Put(8, at + 48, alignment);
        }
    }
}
