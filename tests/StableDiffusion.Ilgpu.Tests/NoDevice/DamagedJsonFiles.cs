using System.Buffers.Binary;
using System.Text;
using StableDiffusion.Ilgpu.Tests.Samples;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Damaged safetensors files, configurations, indexes and tokenizer files.</summary>
internal static class DamagedJsonFiles
{
    private const string Deep = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";

    public static IEnumerable<(string Reader, string Name, byte[] Bytes)> All() =>
        Safetensors().Select(c => ("safetensors", c.Name, c.Bytes)).Concat(Json()).Concat(Configs()).Concat(Tokenizers());

    private static IEnumerable<(string Name, byte[] Bytes)> Safetensors()
    {
        var whole = SampleFiles.Safetensors();
        for (var length = 0; length < whole.Length; length += 7)
        {
            yield return ($"cut off at {length}", whole[..length]);
        }

        for (var bit = 0; bit < 64; bit++)
        {
            var bytes = whole.ToArray();
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            yield return ($"bit {bit} of the header's length turned", bytes);
        }

        var header = Encoding.UTF8.GetString(whole, 8, (int)BinaryPrimitives.ReadInt64LittleEndian(whole));
        (string Old, string New)[] changes =
        [
            ("[0,16]", "[16,0]"), ("[0,16]", "[0,17]"), ("[0,16]", "[1,17]"), ("[0,16]", "[-1,15]"), ("[0,16]", "[0,9223372036854775807]"),
            ("[0,16]", "[0,1e3]"), ("[0,16]", "[0]"), ("[0,16]", "[0,16,16]"), ("[0,16]", "\"0,16\""), ("[0,16]", "null"), ("[0,16]", "[16,22]"),
            ("[16,22]", "[0,6]"), ("[16,22]", "[14,20]"), ("[16,22]", "[18,24]"), ("[22,30]", "[1000,1008]"), ("[22,30]", "[22,22]"),
            ("[2,2]", "[2,3]"), ("[2,2]", "[4294967296,4294967296]"), ("[2,2]", "[9223372036854775807,9223372036854775807]"), ("[2,2]", "[-2,-2]"),
            ("[2,2]", "[2.5,2]"), ("[2,2]", "[null]"), ("[2,2]", "[\"4\"]"), ("[2,2]", "4"), ("[2,2]", "{}"), ("[2,2]", "[0,9223372036854775807]"),
            ("[2,2]", Deep), ("[2,2]", "[99999999999999999999]"), ("F32", "F31"), ("F32", ""), ("F32", "f32"), ("\"F32\"", "32"), ("\"F32\"", "null"), ("F32", "F64"),
            ("\"dtype\":\"F32\",", ""), ("\"shape\":[2,2],", ""), (",\"data_offsets\":[0,16]", ""), ("\"a\":", "\"c\":"), ("\"a\":", "\"\\ud800\":"),
            ("\"a\":", "\"\\u0063\":"), ("\"pt\"", "1"), ("{\"format\":\"pt\"}", "[]"), ("{\"format\"", "{\"a\n\"b\""), ("\"a\":{", "\"a\":[{"),
            ("{\"__", "[\"__"), ("{\"__", " {\"__"), ("}}", "}"), ("}}", "}}}"), ("BF16", "BF16\n"), ("\"F32\"", "\"F\\n32\""),
            ("\"a\":{\"dtype\":\"F32\"", "\"a\\n\\u001b[2J\":{\"dtype\":\"F31\""), ("\"dtype\":\"F32\"", "\"dtype\":\"F32\",\"dtype\":\"F32\""),
        ];
        foreach (var (old, replacement) in changes)
        {
            yield return ($"{old} is {replacement}", SampleFiles.Safetensors(header.Replace(old, replacement, StringComparison.Ordinal), 30));
        }

        yield return ("a byte more", [.. whole, 0]);
        yield return ("a byte that is no UTF-8", SampleFiles.Safetensors("{\"a\":", 0).Append((byte)0xff).ToArray());
        yield return ("five megabytes of brackets", SampleFiles.Safetensors("{\"a\":" + new string('[', 5_000_000), 0));
        yield return ("a shape of two million", SampleFiles.Safetensors(
            $$"""{"a":{"dtype":"U8","shape":[{{string.Join(',', Enumerable.Repeat('1', 2_000_000))}}],"data_offsets":[0,1]} }""", 1));
        yield return ("a hundred thousand tensors of nothing", SampleFiles.Safetensors(
            "{" + string.Join(',', Enumerable.Range(0, 100_000).Select(i => $$"""
                "{{i:x}}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}
                """)) + "}", 0));
        yield return ("a million numbers for an offset", SampleFiles.Safetensors(
            $$"""{"a":{"dtype":"U8","shape":[0],"data_offsets":[{{string.Join(',', Enumerable.Repeat('0', 1_000_000))}}]} }""", 0));
        yield return ("a name of five megabytes", SampleFiles.Safetensors(
            $$"""{"{{new string('n', 5_000_000)}}":{"dtype":"X","shape":[0],"data_offsets":[0,0]} }""", 0));
    }

    private static IEnumerable<(string Reader, string Name, byte[] Bytes)> Json()
    {
        foreach (var reader in new[] { "configs", "index", "folder", "vocabulary" })
        {
            foreach (var text in new[]
            {
                "", " ", "\0", "null", "[]", "1", "\"{}\"", "{", "}", "{]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1}x", "{\"a\":1,\"a\":2}", "{'a':1}",
                "{\"a\":NaN}", "// comment\n{}", "{\"a\":\"\\ud800\"}", "{\"a\":" + Deep, "{\"a\":\"\n\"}", "\ufeff\ufeff{}",
            })
            {
                yield return (reader, $"JSON {text.Replace("\n", "\\n", StringComparison.Ordinal)[..Math.Min(text.Length, 30)]}", Encoding.UTF8.GetBytes(text));
            }

            yield return (reader, "a byte that is no UTF-8", [.. "{\"a\":\""u8, 0xff, .. "\"}"u8]);
            yield return (reader, "three megabytes of brackets", Encoding.UTF8.GetBytes(new string('[', 3_000_000)));
            yield return (reader, "five megabytes of spaces", Encoding.UTF8.GetBytes(new string(' ', 5_000_000) + "{}"));
            yield return (reader, "three megabytes of numbers", Encoding.UTF8.GetBytes("{\"a\":[" + string.Join(',', Enumerable.Repeat('1', 1_500_000)) + "]}"));
            yield return (reader, "a megabyte of quotation marks", Encoding.UTF8.GetBytes("{" + new string('"', 1_000_000)));
        }

        var index = Encoding.UTF8.GetString(SampleFiles.Index());
        foreach (var (old, replacement) in new[]
        {
            ("weight_map", "weight_mop"), ("\"a\":\"a.safetensors\"", "\"a\":\"b.safetensors\""), ("\"a\":\"a.safetensors\"", "\"a\":\"../a.safetensors\""),
            ("\"a\":\"a.safetensors\"", "\"a\":\"/dev/zero\""), ("\"a\":\"a.safetensors\"", "\"a\":1"), ("\"a\":\"a.safetensors\"", "\"a\":\"\""),
            ("\"a\":\"a.safetensors\"", "\"a\":\"..\""), ("\"a\":\"a.safetensors\"", "\"x\":\"a.safetensors\""), ("\"a\":\"a.safetensors\",", ""),
            ("\"a\":\"a.safetensors\"", "\"a\":\"model.safetensors.index.json\""), ("\"a\":\"a.safetensors\"", "\"a\":\"a\\u0000.safetensors\""),
        })
        {
            yield return ("index", $"{old} is {replacement}", Encoding.UTF8.GetBytes(index.Replace(old, replacement, StringComparison.Ordinal)));
        }

        var folder = Encoding.UTF8.GetString(SampleFiles.ModelIndex());
        foreach (var (old, replacement) in new[]
        {
            ("CLIPTextModel", "T5EncoderModel"), ("\"unet\"", "\"transformer\""), ("[\"diffusers\",\"AutoencoderKL\"]", "[]"), ("[\"diffusers\",\"AutoencoderKL\"]", "null"),
            ("[\"diffusers\",\"AutoencoderKL\"]", "[1,2]"), ("\"AutoencoderKL\"", "\"Auto\\nencoder\""), ("{\"_class", "{\"text_encoder_2\":[],\"_class"),
        })
        {
            yield return ("folder", $"{old} is {replacement}", Encoding.UTF8.GetBytes(folder.Replace(old, replacement, StringComparison.Ordinal)));
        }
    }

    private static IEnumerable<(string Reader, string Name, byte[] Bytes)> Configs()
    {
        (string Key, string[] Values)[] clip =
        [
            ("\"vocab_size\":100", ["-1", "0", "2147483647", "1e3", "\"a\"", "[]"]), ("\"max_position_embeddings\":77", ["1", "2147483647"]),
            ("\"hidden_size\":16", ["0", "2147483647", "15"]), ("\"num_hidden_layers\":2", ["0", "-5", "2147483647", "2147483648"]),
            ("\"num_attention_heads\":2", ["0", "3", "-1"]), ("\"layer_norm_eps\":1e-05", ["0", "-1", "1e999"]), ("\"hidden_act\":\"quick_gelu\"", ["\"relu\"", "1"]),
        ];
        (string Key, string[] Values)[] unet =
        [
            ("\"block_out_channels\":[8,16]", ["[]", "[0,16]", "[8,-16]", "[8,2147483647]", "8", "[7,16]", "[8,16,32,64,128,256,512,1024,2048]"]),
            ("\"layers_per_block\":1", ["0", "2147483647", "[1,2]"]), ("\"attention_head_dim\":[2,4]", ["0", "3", "[2,3]", "[2,4,8]", "-2"]),
            ("\"norm_num_groups\":4", ["0", "3", "-4"]), ("\"down_block_types\":[\"CrossAttnDownBlock2D\",\"DownBlock2D\"]", ["[]", "[null,null]", "[\"DownBlock2D\"]", "[\"X\",\"Y\"]"]),
            ("\"sample_size\":8", ["0", "2147483647"]), ("\"cross_attention_dim\":16", ["0", "2147483647"]), ("\"in_channels\":4", ["0", "2147483647"]),
            ("\"act_fn\":\"silu\"", ["\"gelu\"", "[]"]), ("\"use_linear_projection\":true", ["1", "\"true\""]), ("\"norm_eps\":1e-05", ["0"]),
        ];
        (string Key, string[] Values)[] vae =
        [
            ("\"block_out_channels\":[8,16]", ["[]", "[0]", "[2147483647]"]), ("\"layers_per_block\":1", ["2147483647"]), ("\"latent_channels\":4", ["0", "2147483647"]),
            ("\"norm_num_groups\":4", ["0", "5"]), ("\"scaling_factor\":0.18215", ["0", "-1", "\"a\""]),
        ];
        (string Key, string[] Values)[] scheduler =
        [
            ("\"num_train_timesteps\":1000", ["0", "-1", "2147483647", "1.5"]), ("\"beta_start\":0.00085", ["-1", "2", "\"a\""]), ("\"beta_end\":0.012", ["1e300", "-1"]),
            ("\"beta_schedule\":\"scaled_linear\"", ["\"x\"", "1"]), ("\"prediction_type\":\"epsilon\"", ["\"x\\ny\""]), ("\"steps_offset\":1", ["-1", "2147483647", "999"]),
            ("\"trained_betas\":null", ["[]", "[0.1]", "\"a\""]), ("\"timestep_spacing\":\"leading\"", ["\"x\""]),
        ];
        foreach (var (sample, table) in new[] { (0, clip), (1, unet), (2, vae), (3, scheduler) })
        {
            var text = Encoding.UTF8.GetString(SampleFiles.Configs[sample]);
            foreach (var (key, values) in table)
            {
                foreach (var value in values)
                {
                    var changed = text.Replace(key, key[..(key.IndexOf(':', StringComparison.Ordinal) + 1)] + value, StringComparison.Ordinal);
                    yield return ("configs", $"{key} is {value}", Encoding.UTF8.GetBytes(changed));
                }
            }
        }
    }

    private static IEnumerable<(string Reader, string Name, byte[] Bytes)> Tokenizers()
    {
        var vocabulary = Encoding.UTF8.GetString(SampleFiles.Vocabulary());
        foreach (var (old, replacement) in new[]
        {
            ("\"th\":512", "\"th\":511"), ("\"th\":512", "\"th\":-1"), ("\"th\":512", "\"th\":2147483647"), ("\"th\":512", "\"th\":1e3"), ("\"th\":512", "\"th\":null"),
            ("\"th\":512", "\"ca\":512"), ("\"th\":512", "\"\\ud800\":512"), ("\"th\":512", "\"th\":{}"), ("{", "[{"), ("endoftext", "endoftxt"), ("\"th\":512,", ""),
        })
        {
            yield return ("vocabulary", $"{old} is {replacement}", Encoding.UTF8.GetBytes(vocabulary.Replace(old, replacement, StringComparison.Ordinal)));
        }

        var merges = Encoding.UTF8.GetString(SampleFiles.Merges());
        foreach (var (old, replacement) in new[]
        {
            ("t h\n", "th\n"), ("t h\n", "t h e\n"), ("t h\n", " t h\n"), ("t h\n", "t h \n"), ("t h\n", "t \n"), ("t h\n", " h\n"), ("t h\n", "x y z\n"), ("t h\n", "t q\n"),
            ("t h\n", "t h\nt h\n"), ("t h\n", "t\0h\n"), ("t h\n", "t\th\n"), ("#version", "version"), ("t h\n", "\u001b[2J h\n"),
        })
        {
            yield return ("merges", $"{old.Trim()} is {replacement.Trim()}", Encoding.UTF8.GetBytes(merges.Replace(old, replacement, StringComparison.Ordinal)));
        }

        yield return ("merges", "two megabytes of lines", Encoding.UTF8.GetBytes(new string('\n', 2_000_000)));
        yield return ("merges", "a megabyte of letters", Encoding.UTF8.GetBytes(new string('t', 900_000)));
        yield return ("merges", "bytes that are no UTF-8", [.. "t h\n"u8, 0xff, (byte)' ', 0xfe]);
    }
}
