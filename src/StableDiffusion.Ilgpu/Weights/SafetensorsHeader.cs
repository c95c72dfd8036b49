using System.Buffers.Binary;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The header of a safetensors file: 8 bytes of length (little-endian), then that many bytes of JSON, then the tensors' bytes.
/// Everything is checked here, so that reading a tensor later needs no check of its own: lengths, types, shapes, and that the
/// tensors cover the rest of the file without gap or overlap.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>The limit of the format's own library; a damaged length must not make us allocate what it says.</summary>
    public const long LargestHeader = 100_000_000;

    /// <summary>Bytes of the length in front of the JSON text.</summary>
    public const int LengthBytes = 8;

    /// <summary>Of a tensor's records and its shares of lists and dictionaries; its name and shape are in the budget of the JSON text.</summary>
    private const int TensorBytes = 384;

    private const string MetadataKey = "__metadata__";

    private static readonly Dictionary<string, TensorType> Types =
        Enum.GetValues<TensorType>().ToDictionary(t => t.ToString().ToUpperInvariant());

    private readonly string path;
    private readonly Dictionary<string, TensorInfo> tensors = [];
    private readonly Dictionary<string, long> offsets = [];

    private JsonElement? metadata;

    private SafetensorsHeader(string path) => this.path = path;

    public IReadOnlyDictionary<string, TensorInfo> Tensors => tensors;

    /// <summary>Bytes of the file before the tensors'.</summary>
    public long DataStart { get; private set; }

    /// <summary>Where each tensor starts, in bytes from the start of the file.</summary>
    public IReadOnlyDictionary<string, long> Offsets => offsets;

    /// <summary>The type's name in a header.</summary>
    public static string NameOf(TensorType type) => Types.First(t => t.Value == type).Key;

    public static int BytesOf(TensorType type) => type switch
    {
        TensorType.F64 or TensorType.I64 => 8,
        TensorType.F32 or TensorType.I32 => 4,
        TensorType.F16 or TensorType.BF16 or TensorType.I16 => 2,
        _ => 1,
    };

    /// <summary>A text of __metadata__; null where there is none of that name. Trainers write megabytes there, so texts stay as they are stored.</summary>
    public string? FindMetadata(string key) => metadata is { } texts && texts.TryGetProperty(key, out var text) ? text.GetString() : null;

    /// <param name="path">What messages call the file.</param>
    /// <param name="length">The file's length in bytes.</param>
    /// <param name="read">Fills a buffer with the bytes at an offset of the file.</param>
    /// <exception cref="StableDiffusionException">The header contradicts itself or the file's length.</exception>
    public static SafetensorsHeader Parse(string path, long length, Action<long, byte[]> read)
    {
        var header = new SafetensorsHeader(path);
        if (length < LengthBytes)
        {
            throw header.Error($"has {length} bytes, too few for a safetensors file");
        }

        var prefix = new byte[LengthBytes];
        read(0, prefix);
        var size = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (size is < 2 or > LargestHeader)
        {
            throw header.Error($"its header length is {size}, not 2 to {LargestHeader}; not a safetensors file, or damaged");
        }

        if (size > (ulong)(length - LengthBytes))
        {
            throw header.Error(
                $"its header length is {size}, but only {length - LengthBytes} bytes follow; the file is truncated or damaged");
        }

        var text = new byte[size];
        read(LengthBytes, text);
        if (text[0] != '{')
        {
            throw header.Error("its header does not start with '{'; not a safetensors file, or damaged");
        }

        var budget = new AllocationBudget(path, length);
        header.ReadTensors(JsonFile.ParseObject(text, $"{path}: header", budget), LengthBytes + (long)size, length, budget);
        return header;
    }

    private void ReadTensors(JsonElement json, long dataStart, long fileLength, AllocationBudget budget)
    {
        DataStart = dataStart;
        var dataLength = fileLength - dataStart;
        var ranges = new List<(long Begin, long End, string Name)>();
        foreach (var entry in json.EnumerateObject())
        {
            if (entry.Name == MetadataKey)
            {
                metadata = entry.Value.ValueKind == JsonValueKind.Object
                    && entry.Value.EnumerateObject().All(p => p.Value.ValueKind == JsonValueKind.String)
                    ? entry.Value
                    : throw Error($"{MetadataKey} is not an object of texts");
                continue;
            }

            budget.Take(TensorBytes);
            var info = new TensorInfo(entry.Name, TypeOf(entry), ShapeOf(entry));
            var (begin, end) = RangeOf(entry, dataLength);
            if (end - begin != BytesOf(info))
            {
                throw Error(entry.Name, $"takes {end - begin} bytes, but {info.Type} {info.ShapeText} needs {BytesOf(info)}");
            }

            ranges.Add((begin, end, entry.Name));
            tensors.Add(entry.Name, info);
            offsets.Add(entry.Name, dataStart + begin);
        }

        ranges.Sort();
        var covered = 0L;
        foreach (var (begin, end, name) in ranges)
        {
            if (begin != covered)
            {
                throw Error(name, $"starts at {begin}, {(begin < covered ? "inside another tensor" : "behind a gap")}; expected {covered}");
            }

            covered = end;
        }

        if (covered != dataLength)
        {
            throw Error($"{dataLength} bytes follow the header, but its tensors end at {covered}");
        }
    }

    private TensorType TypeOf(JsonProperty entry)
    {
        var dtype = Field(entry, "dtype");
        var type = Types.FirstOrDefault(t => dtype.ValueKind == JsonValueKind.String && dtype.ValueEquals(t.Key));
        return type.Key is not null
            ? type.Value
            : throw Error(entry.Name, $"has dtype {JsonFile.Quote(dtype)}; valid: {string.Join(", ", Types.Keys)}");
    }

    private long[] ShapeOf(JsonProperty entry) =>
        Numbers(entry, "shape") ?? throw Error(entry.Name, $"has shape {JsonFile.Quote(Field(entry, "shape"))}, not a list of sizes from 0");

    private (long Begin, long End) RangeOf(JsonProperty entry, long dataLength) =>
        Numbers(entry, "data_offsets") is not [var begin, var end]
            ? throw Error(entry.Name, $"has data_offsets {JsonFile.Quote(Field(entry, "data_offsets"))}, not two numbers from 0")
            : begin > end ? throw Error(entry.Name, $"has reversed data_offsets [{begin}, {end}]")
            : end > dataLength
                ? throw Error(entry.Name, $"ends at {end}, but only {dataLength} bytes follow the header; the file is truncated or damaged")
            : (begin, end);

    /// <summary>A list of integers from 0, or null where the field is something else.</summary>
    private long[]? Numbers(JsonProperty entry, string key)
    {
        var list = Field(entry, key);
        if (list.ValueKind != JsonValueKind.Array)
        {
            return null;
        }

        var numbers = new List<long>();
        foreach (var e in list.EnumerateArray())
        {
            if (e.ValueKind != JsonValueKind.Number || !e.TryGetInt64(out var number) || number < 0)
            {
                return null;
            }

            numbers.Add(number);
        }

        return [.. numbers];
    }

    private JsonElement Field(JsonProperty entry, string key) =>
        entry.Value.ValueKind == JsonValueKind.Object && entry.Value.TryGetProperty(key, out var field)
            ? field
            : throw Error(entry.Name, $"has no {key}");

    private long BytesOf(TensorInfo info)
    {
        try
        {
            return info.Shape.Aggregate((long)BytesOf(info.Type), (a, b) => checked(a * b));
        }
        catch (OverflowException)
        {
            throw Error(info.Name, $"has shape {info.ShapeText}, more than any file holds");
        }
    }

    private StableDiffusionException Error(string problem) => new($"{path}: {problem}");

    private StableDiffusionException Error(string tensor, string problem) => new($"{path}: tensor {tensor} {problem}");
}
