using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// The F32, I64 and U8 tensors of a reference file. It trusts the file and shares no code with the library's own reader, which it helps
/// to test.
/// </summary>
internal sealed class TestTensors
{
    private readonly byte[] bytes;
    private readonly int dataStart;
    private readonly Dictionary<string, JsonElement> entries;

    private TestTensors(byte[] bytes)
    {
        this.bytes = bytes;
        var headerLength = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        dataStart = sizeof(long) + headerLength;
        entries = JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(bytes.AsSpan(sizeof(long), headerLength))!;
        entries.Remove("__metadata__");
    }

    public IReadOnlyCollection<string> Names => entries.Keys;

    public static TestTensors Open(params string[] pathInReference) => new(File.ReadAllBytes(ReferenceData.PathOf(pathInReference)));

    public bool Has(string name) => entries.ContainsKey(name);

    public int[] Shape(string name) => [.. entries[name].GetProperty("shape").EnumerateArray().Select(d => d.GetInt32())];

    public string Type(string name) => entries[name].GetProperty("dtype").GetString()!;

    public float[] Floats(string name) => Values<float>(name, "F32");

    public byte[] Bytes(string name) => Values<byte>(name, "U8");

    public long[] Longs(string name) => Values<long>(name, "I64");

    /// <summary>A tensor of any type as it is stored.</summary>
    public ReadOnlySpan<byte> Stored(string name)
    {
        var range = entries[name].GetProperty("data_offsets");
        var (first, end) = (range[0].GetInt32(), range[1].GetInt32());
        return bytes.AsSpan(dataStart + first, end - first);
    }

    private T[] Values<T>(string name, string type) where T : struct => Type(name) == type ? MemoryMarshal.Cast<byte, T>(Stored(name)).ToArray()
        : throw new InvalidOperationException($"{name} is {Type(name)}, not {type}");
}
