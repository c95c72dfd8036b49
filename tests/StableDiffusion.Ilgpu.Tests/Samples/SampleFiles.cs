using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using StableDiffusion.Ilgpu.Text;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>Small valid files of the formats that models come in.</summary>
internal static class SampleFiles
{
    private const string Header =
        """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b.weight":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"c":{"dtype":"I64","shape":[],"data_offsets":[22,30]}}""";

    /// <summary>One configuration of each kind.</summary>
    public static IReadOnlyList<byte[]> Configs { get; } =
    [
        .. new[]
        {
            """{"vocab_size":100,"max_position_embeddings":77,"hidden_size":16,"intermediate_size":64,"num_hidden_layers":2,"num_attention_heads":2,"hidden_act":"quick_gelu","layer_norm_eps":1e-05}""",
            """{"sample_size":8,"in_channels":4,"out_channels":4,"block_out_channels":[8,16],"down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D"],"layers_per_block":1,"attention_head_dim":[2,4],"cross_attention_dim":16,"norm_num_groups":4,"norm_eps":1e-05,"use_linear_projection":true,"freq_shift":0,"act_fn":"silu"}""",
            """{"in_channels":3,"out_channels":3,"block_out_channels":[8,16],"layers_per_block":1,"latent_channels":4,"norm_num_groups":4,"scaling_factor":0.18215,"act_fn":"silu"}""",
            """{"num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear","prediction_type":"epsilon","steps_offset":1,"set_alpha_to_one":false,"skip_prk_steps":true,"timestep_spacing":"leading","trained_betas":null,"rescale_betas_zero_snr":false}""",
        }.Select(Encoding.UTF8.GetBytes),
    ];

    public static byte[] Safetensors(string header, int dataLength)
    {
        var json = Encoding.UTF8.GetBytes(header);
        var bytes = new byte[8 + json.Length + dataLength];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, json.Length);
        json.CopyTo(bytes, 8);
        new Random(3).NextBytes(bytes.AsSpan(8 + json.Length));
        return bytes;
    }

    public static byte[] Safetensors() => Safetensors(Header, 30);

    public static byte[] Float8Safetensors() => Safetensors(
        """{"a":{"dtype":"F8_E4M3","shape":[3,5],"data_offsets":[0,15]},"b":{"dtype":"F8_E5M2","shape":[7],"data_offsets":[15,22]}}""", 22);

    public static byte[] EmptySafetensors() => Safetensors("{}", 0);

    /// <summary>An index of the shard a.safetensors, which is <see cref="Safetensors()"/>.</summary>
    public static byte[] Index() =>
        """{"metadata":{"total_size":30},"weight_map":{"a":"a.safetensors","b.weight":"a.safetensors","c":"a.safetensors"}}"""u8.ToArray();

    public static byte[] ModelIndex() =>
        """{"_class_name":"StableDiffusionPipeline","scheduler":["diffusers","PNDMScheduler"],"text_encoder":["transformers","CLIPTextModel"],"tokenizer":["transformers","CLIPTokenizer"],"unet":["diffusers","UNet2DConditionModel"],"vae":["diffusers","AutoencoderKL"]}"""u8.ToArray();

    /// <summary>The letters of all bytes, the special tokens and what <see cref="Merges"/> makes.</summary>
    public static byte[] Vocabulary()
    {
        var letters = ByteLetters.Letters.ToArray().Select(l => $"{l}").ToArray();
        string[] tokens =
        [
            .. letters, .. letters.Select(l => l + BytePairTable.EndOfWord), "th", "the</w>", "ca", "cat</w>", BytePairTable.StartOfTextToken,
            BytePairTable.EndOfTextToken,
        ];
        return JsonSerializer.SerializeToUtf8Bytes(tokens.Select((token, id) => (token, id)).ToDictionary(t => t.token, t => t.id));
    }

    /// <summary>Of a tokenizer's folder: two tokens behind CLIP's vocabulary and one of it.</summary>
    public static byte[] AddedTokens() => """{"<cat>":49408,"<cat>_1":49409,"<|endoftext|>":49407}"""u8.ToArray();

    /// <summary>The same in a tokenizer's configuration.</summary>
    public static byte[] TokenizerConfig() =>
        """{"added_tokens_decoder":{"49407":{"content":"<|endoftext|>","special":true},"49408":{"content":"<cat>"},"49409":{"content":"<cat>_1"}},"pad_token":"!"}"""u8
            .ToArray();

    public static byte[] Merges() => "#version: 0.2\nt h\nth e</w>\nc a\nca t</w>\n"u8.ToArray();
}
