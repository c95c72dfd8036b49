using System.Buffers.Binary;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Fills a tensor's bytes: little-endian, row-major.</summary>
internal delegate void TensorFiller(TensorInfo tensor, Span<byte> destination);

/// <summary>Writes safetensors files, one tensor at a time.</summary>
internal static class SafetensorsWriter
{
    /// <summary>Tensor data start at a multiple of this many bytes, as the format recommends.</summary>
    private const int Alignment = 8;

    /// <summary>
    /// Writes the tensors in the order given, to a temporary name beside <paramref name="path"/>, which then takes its place.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">Names, types and shapes.</param>
    /// <param name="fill">Fills a tensor's bytes.</param>
    /// <param name="metadata">Texts for the header beside the format's own.</param>
    /// <param name="output">What messages call the file; null for its path.</param>
    /// <exception cref="StableDiffusionException">The file cannot be written; nothing is left of it.</exception>
    public static void Write(
        string path, IReadOnlyList<TensorInfo> tensors, TensorFiller fill, IReadOnlyDictionary<string, string>? metadata = null,
        string? output = null)
    {
        string? temporary = null;
        try
        {
            var target = FinishedFile.TargetOf(path);
            temporary = FinishedFile.TemporaryBeside(target, isLarge: true);
            using (var stream = File.Create(temporary))
            {
                stream.Write(Header(tensors, metadata));
                WriteTensors(stream, tensors, fill);
            }

            FinishedFile.Move(temporary, target);
        }
        catch (Exception e)
        {
            if (File.Exists(temporary))
            {
                File.Delete(temporary);
            }

            if (e is IOException or UnauthorizedAccessException)
            {
                throw ModelWriter.CannotWrite(output ?? path, e);
            }

            throw;
        }
    }

    private static void WriteTensors(Stream stream, IReadOnlyList<TensorInfo> tensors, TensorFiller fill)
    {
        var buffer = Array.Empty<byte>();
        foreach (var tensor in tensors)
        {
            var size = checked((int)BytesOf(tensor));
            if (size > buffer.Length)
            {
                buffer = GC.AllocateUninitializedArray<byte>(size);
            }

            fill(tensor, buffer.AsSpan(0, size));
            stream.Write(buffer, 0, size);
        }
    }

    private static long BytesOf(TensorInfo tensor) => tensor.Count * SafetensorsHeader.BytesOf(tensor.Type);

    private static byte[] Header(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using var text = new MemoryStream();
        text.Write(stackalloc byte[SafetensorsHeader.LengthBytes]);
        using (var json = new Utf8JsonWriter(text))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            json.WriteString("format", "pt");
            foreach (var (key, value) in metadata ?? new Dictionary<string, string>())
            {
                json.WriteString(key, value);
            }

            json.WriteEndObject();
            var begin = 0L;
            foreach (var tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", SafetensorsHeader.NameOf(tensor.Type));
                WriteNumbers(json, "shape", tensor.Shape);
                WriteNumbers(json, "data_offsets", [begin, begin += BytesOf(tensor)]);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        while (text.Length % Alignment != 0)
        {
            text.WriteByte((byte)' ');
        }

        var header = text.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(header, header.Length - SafetensorsHeader.LengthBytes);
        return header;
    }

    private static void WriteNumbers(Utf8JsonWriter json, string name, long[] numbers)
    {
        json.WriteStartArray(name);
        foreach (var number in numbers)
        {
            json.WriteNumberValue(number);
        }

        json.WriteEndArray();
    }
}
