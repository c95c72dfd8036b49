using System.Buffers.Binary;
using System.Text;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Safetensors headers: what is accepted, and every field corrupted.</summary>
public sealed class WeightsHeaderTests : IDisposable
{
    private readonly WeightsTestFiles files = new();

    public void Dispose() => files.Dispose();

    /// <summary>A header of two tensors in 12 bytes of data: a, F32 [2] and b, F16 [2, 1].</summary>
    private static string Header(
        string dtype = "\"F32\"", string shape = "[2]", string offsets = "[0,8]", string other = "[8,12]", string extra = "") =>
        $$"""{"a":{"dtype":{{dtype}},"shape":{{shape}},"data_offsets":{{offsets}}},"b":{"dtype":"F16","shape":[2,1],"data_offsets":{{other}}}{{extra}}}""";

    private void RefusedHeader(string header, params string[] parts)
    {
        var path = files.WriteSafetensors("x.safetensors", header, new byte[12]);
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(path), [path, .. parts]);
    }

    [Fact]
    public void A_valid_file_opens()
    {
        var path = files.WriteSafetensors(
            "x.safetensors", Header(extra: ""","__metadata__":{"format":"pt"},"empty":{"dtype":"I64","shape":[0,7],"data_offsets":[8,8]}""") + "   ",
            new byte[12]);
        using var file = SafetensorsFile.Open(path);
        Assert.Equal(["a", "b", "empty"], file.Tensors.Keys.Order());
        Assert.Equal((TensorType.F32, "[2]"), (file.Tensors["a"].Type, file.Tensors["a"].ShapeText));
        Assert.Equal((TensorType.F16, "[2, 1]"), (file.Tensors["b"].Type, file.Tensors["b"].ShapeText));
        Assert.Equal(0, file.Tensors["empty"].Count);
    }

    /// <summary>
    /// What trainers write: JSON in texts of JSON, with escapes that need no decoding to be checked, or, where tags are not ASCII, that do.
    /// </summary>
    [Theory]
    [InlineData("tag", 650_000, 13_000_000)]
    [InlineData("\\u72ac", 260_000, 6_000_000)]
    public void A_small_file_may_have_megabytes_of_metadata(string tag, int count, int least)
    {
        var tags = string.Concat(Enumerable.Range(0, count).Select(i => $"\\\"{tag} {i % 1000}\\\": {i}, "));
        Assert.InRange(tags.Length, least, 2 * least);
        var path = files.WriteSafetensors(
            "m.safetensors", Header(extra: $$""","__metadata__":{"ss_tag_frequency":"{{tags}}","modelspec.prediction_type":"\u0076"}"""), new byte[12]);
        var (error, finding, allocated) = Samples.WatchedRead.Run(new FileInfo(path).Length, () =>
        {
            using var file = SafetensorsFile.Open(path);
            Assert.Equal("v", file.FindMetadata("modelspec.prediction_type"));
            Assert.Null(file.FindMetadata("format"));
        });
        TestContext.Current.TestOutputHelper?.WriteLine($"{allocated} bytes for {new FileInfo(path).Length}");
        Assert.Null(error);
        Assert.Null(finding);
    }

    [Fact]
    public void A_text_that_is_no_text_is_refused()
    {
        RefusedHeader(Header(extra: ""","__metadata__":{"a":"\ud800"}"""), "is not valid JSON");
        var text = Encoding.Latin1.GetBytes(Header(extra: ""","__metadata__":{"a":"?"}"""));
        text[text.AsSpan().IndexOf((byte)'?')] = 0xff;
        var path = files.Write("latin.safetensors", [.. BitConverter.GetBytes((long)text.Length), .. text, .. new byte[12]]);
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(path), "is not valid JSON");
    }

    [Fact]
    public void A_scalar_has_one_element_and_an_empty_file_none()
    {
        using var scalar = SafetensorsFile.Open(
            files.WriteSafetensors("s.safetensors", """{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}""", BitConverter.GetBytes(2.5f)));
        var value = new float[1];
        scalar.Read("s", value);
        Assert.Equal(2.5f, value[0]);

        using var empty = SafetensorsFile.Open(files.WriteSafetensors("e.safetensors", "{}"));
        Assert.Empty(empty.Tensors);
    }

    [Fact]
    public void A_tensor_without_elements_reads_as_nothing()
    {
        using var file = SafetensorsFile.Open(
            files.WriteSafetensors("z.safetensors", """{"z":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}"""));
        file.Read("z", Span<float>.Empty);
        file.Read("z", Span<ushort>.Empty);
    }

    [Fact]
    public void Every_element_type_is_known_with_its_size()
    {
        foreach (var (name, size) in new[]
        {
            ("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1),
            ("F8_E4M3", 1), ("F8_E5M2", 1),
        })
        {
            var path = files.WriteSafetensors(
                "t.safetensors", $$$"""{"t":{"dtype":"{{{name}}}","shape":[3],"data_offsets":[0,{{{3 * size}}}]}}""", new byte[3 * size]);
            using var file = SafetensorsFile.Open(path);
            Assert.Equal(3, file.Tensors["t"].Count);
        }
    }

    [Fact]
    public void A_missing_file_and_a_folder_are_refused()
    {
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(files.PathOf("none.safetensors")), "none.safetensors", "cannot be read");
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(files.Folder), files.Folder, "cannot be read: it is a folder");
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_refused()
    {
        var whole = WeightsTestFiles.Safetensors(Header(), new byte[12]);
        for (var length = 0; length < whole.Length; length++)
        {
            var path = files.Write("cut.safetensors", whole[..length]);
            var e = Assert.Throws<StableDiffusionException>(() => SafetensorsFile.Open(path));
            Assert.StartsWith(path, e.Message, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', e.Message);
        }

        var longer = files.Write("longer.safetensors", [.. whole, 0]);
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(longer), "13 bytes follow the header, but its tensors end at 12");
    }

    [Theory]
    [InlineData(0UL, "header length is 0")]
    [InlineData(1UL, "header length is 1")]
    [InlineData(1000UL, "header length is 1000, but only")]
    [InlineData(100_000_000UL, "header length is 100000000, but only")]
    [InlineData(100_000_001UL, "header length is 100000001, not")]
    [InlineData(0x8000000000000000UL, "header length is 9223372036854775808, not")]
    [InlineData(ulong.MaxValue, "header length is 18446744073709551615, not")]
    public void A_wrong_header_length_is_refused(ulong length, string message)
    {
        var bytes = WeightsTestFiles.Safetensors(Header(), new byte[12]);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        var path = files.Write("length.safetensors", bytes);
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(path), path, message);
    }

    [Fact]
    public void A_header_length_off_by_a_little_is_refused()
    {
        var bytes = WeightsTestFiles.Safetensors(Header(), new byte[12]);
        var length = BinaryPrimitives.ReadInt64LittleEndian(bytes);
        foreach (var wrong in new[] { length - 1, length + 1, length - 8, length + 12 })
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes, wrong);
            var path = files.Write("length.safetensors", bytes);
            WeightsTestFiles.Refused(() => SafetensorsFile.Open(path), path);
        }
    }

    [Theory]
    [InlineData(" {}", "does not start with '{'")]
    [InlineData("[1]", "does not start with '{'")]
    [InlineData("{\"a\"}", "not valid JSON")]
    [InlineData("{\"a\":", "not valid JSON")]
    [InlineData("{} {}", "not valid JSON")]
    [InlineData("{\"a\\ud800\":1}", "not valid JSON")]
    [InlineData("{\"a\":\"\\ud800\"}", "not valid JSON")]
    public void A_header_that_is_not_JSON_is_refused(string header, string message) => RefusedHeader(header, message);

    [Fact]
    public void A_header_that_is_not_UTF8_is_refused()
    {
        var bytes = Encoding.UTF8.GetBytes(Header());
        bytes[2] = 0xff;
        var path = files.Write("utf8.safetensors", WeightsTestFiles.Safetensors(bytes, new byte[12]));
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(path), path, "not valid JSON");
    }

    [Fact]
    public void Deep_nesting_is_refused() =>
        RefusedHeader("{\"a\":" + new string('[', 5000) + new string(']', 5000) + "}", "not valid JSON");

    [Theory]
    [InlineData(",\"a\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}")]
    [InlineData(",\"\\u0061\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}")]
    [InlineData(",\"__metadata__\":{},\"__metadata__\":{}")]
    [InlineData(",\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}")]
    [InlineData(",\"c\":{\"dtype\":\"F16\",\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}")]
    public void A_name_that_occurs_twice_is_refused(string extra) => RefusedHeader(Header(extra: extra), "uplicate");

    [Theory]
    [InlineData(",\"__metadata__\":1")]
    [InlineData(",\"__metadata__\":{\"k\":1}")]
    public void Metadata_that_are_not_texts_are_refused(string extra) => RefusedHeader(Header(extra: extra), "__metadata__");

    [Theory]
    [InlineData("\"F33\"")]
    [InlineData("\"f32\"")]
    [InlineData("\"0\"")]
    [InlineData("\"\"")]
    [InlineData("1")]
    [InlineData("null")]
    public void An_unknown_type_is_refused_with_the_valid_ones(string dtype) =>
        RefusedHeader(Header(dtype: dtype), $"tensor a has dtype {dtype}", "F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL, F8_E4M3, F8_E5M2");

    [Theory]
    [InlineData("[-2]")]
    [InlineData("[-1,-2]")]
    [InlineData("[2.0]")]
    [InlineData("[2e0]")]
    [InlineData("[\"2\"]")]
    [InlineData("[null]")]
    [InlineData("[9223372036854775808]")]
    [InlineData("2")]
    [InlineData("{}")]
    [InlineData("null")]
    public void A_shape_that_is_not_sizes_is_refused(string shape) => RefusedHeader(Header(shape: shape), "tensor a has shape", "from 0");

    [Theory]
    [InlineData("[4294967296,4294967296]")]
    [InlineData("[2305843009213693954]")]
    [InlineData("[9223372036854775807,2]")]
    [InlineData("[4294967296,4294967296,0]")]
    public void A_shape_that_overflows_is_refused(string shape) => RefusedHeader(Header(shape: shape), "tensor a has shape", "more than any file");

    [Theory]
    [InlineData("[3]", 12)]
    [InlineData("[1]", 4)]
    [InlineData("[0]", 0)]
    [InlineData("[]", 4)]
    [InlineData("[2,2]", 16)]
    public void Bytes_that_do_not_fit_the_shape_are_refused(string shape, int needed) =>
        RefusedHeader(Header(shape: shape), "tensor a takes 8 bytes", $"needs {needed}");

    [Theory]
    [InlineData("[8,0]", "reversed")]
    [InlineData("[0]", "not two numbers")]
    [InlineData("[0,8,8]", "not two numbers")]
    [InlineData("[0,-8]", "not two numbers")]
    [InlineData("[-8,0]", "not two numbers")]
    [InlineData("[0,8.0]", "not two numbers")]
    [InlineData("[0,18446744073709551615]", "not two numbers")]
    [InlineData("\"0,8\"", "not two numbers")]
    [InlineData("null", "not two numbers")]
    [InlineData("[8,16]", "only 12 bytes follow")]
    [InlineData("[9223372036854775799,9223372036854775807]", "only 12 bytes follow")]
    [InlineData("[0,9]", "takes 9 bytes")]
    [InlineData("[1,8]", "takes 7 bytes")]
    public void Wrong_offsets_are_refused(string offsets, string message) => RefusedHeader(Header(offsets: offsets), "tensor a", message);

    [Theory]
    [InlineData("[0,8]", "[4,8]", "b starts at 4, inside another tensor")]
    [InlineData("[4,12]", "[0,4]", "")]
    [InlineData("[2,10]", "[8,12]", "a starts at 2, behind a gap")]
    [InlineData("[3,11]", "[0,4]", "a starts at 3, inside another tensor")]
    public void Overlaps_and_gaps_are_refused(string a, string b, string message)
    {
        if (message.Length == 0)
        {
            // The order in the header need not be the order in the file.
            using var file = SafetensorsFile.Open(files.WriteSafetensors("swapped.safetensors", Header(offsets: a, other: b), new byte[12]));
            Assert.Equal(2, file.Tensors.Count);
            return;
        }

        RefusedHeader(Header(offsets: a, other: b), message);
    }

    [Fact]
    public void A_gap_between_and_one_at_the_end_are_refused()
    {
        var between = files.WriteSafetensors("gap.safetensors", Header(other: "[10,14]"), new byte[14]);
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(between), "b starts at 10, behind a gap");
        var end = files.WriteSafetensors("end.safetensors", Header(), new byte[16]);
        WeightsTestFiles.Refused(() => SafetensorsFile.Open(end), "16 bytes follow the header, but its tensors end at 12");
    }

    [Theory]
    [InlineData("{\"a\":{\"shape\":[3],\"data_offsets\":[0,12]}}", "tensor a has no dtype")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,12]}}", "tensor a has no shape")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[3]}}", "tensor a has no data_offsets")]
    [InlineData("{\"a\":1}", "tensor a has no dtype")]
    [InlineData("{\"a\":[]}", "tensor a has no dtype")]
    public void A_field_left_out_is_refused(string header, string message) => RefusedHeader(header, message);

    [Fact]
    public void Any_single_byte_of_a_header_changed_gives_one_line_or_a_valid_file()
    {
        // Some changes are still valid files (another name): what must not happen is another kind of exception.
        var whole = WeightsTestFiles.Safetensors(Header(extra: ",\"__metadata__\":{\"format\":\"pt\"}"), new byte[12]);
        var (refused, opened) = (0, 0);
        for (var i = 0; i < whole.Length - 12; i++)
        {
            foreach (var value in new byte[] { 0, 0x20, (byte)'"', (byte)'0', (byte)'9', (byte)'-', (byte)'\\', (byte)'{', 0x80, 0xff })
            {
                var bytes = (byte[])whole.Clone();
                bytes[i] = value;
                var path = files.Write("flip.safetensors", bytes);
                try
                {
                    using var file = SafetensorsFile.Open(path);
                    opened++;
                }
                catch (StableDiffusionException e)
                {
                    Assert.DoesNotContain('\n', e.Message);
                    refused++;
                }
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{refused} changes refused, {opened} still valid");
        Assert.True(refused > 5 * opened);
    }
}
