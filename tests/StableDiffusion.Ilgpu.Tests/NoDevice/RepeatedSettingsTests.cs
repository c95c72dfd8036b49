using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Sampling.Noise;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Other tools' names in the terms of a request.</summary>
public sealed class RepeatedSettingsTests
{
    [Theory]
    [InlineData("Euler a", null, "euler_a", Scheduler.Normal)]
    [InlineData("DPM++ 2M", "Karras", "dpm++2m", Scheduler.Karras)]
    [InlineData("DPM++ 2M Karras", null, "dpm++2m", Scheduler.Karras)]
    [InlineData("euler_a karras", null, "euler_a", Scheduler.Karras)]
    [InlineData("euler_ancestral", "normal", "euler_a", Scheduler.Normal)]
    [InlineData("dpmpp_2m", "karras", "dpm++2m", Scheduler.Karras)]
    [InlineData("dpmpp_2m_sde_gpu", "karras", "dpm++2m_sde", Scheduler.Karras)]
    [InlineData("DDIM", "Automatic", "ddim", Scheduler.Discrete)]
    [InlineData("Euler a", "Automatic", "euler_a", Scheduler.Normal)]
    [InlineData("DPM++ 2M", "Automatic", "dpm++2m", Scheduler.Karras)]
    [InlineData("DPM++ 2M SDE", "Automatic", "dpm++2m_sde", Scheduler.Exponential)]
    [InlineData("DPM++ 2M", "Normal", "dpm++2m", Scheduler.Normal)]
    [InlineData("DPM++ 2M", "Uniform", "dpm++2m", Scheduler.Normal)]
    [InlineData("DPM++ 2M", null, "dpm++2m", Scheduler.Normal)]
    [InlineData("DDIM", "Karras", "ddim", Scheduler.Discrete)]
    [InlineData("UniPC", "Automatic", "unipc", Scheduler.Discrete)]
    [InlineData("LCM", null, "lcm", Scheduler.Discrete)]
    [InlineData("ddpm", "normal", "ddpm", Scheduler.Discrete)]
    [InlineData("PLMS", "Uniform", "pndm", Scheduler.Discrete)]
    [InlineData(null, null, null, null)]
    public void Samplers_and_schedules_of_every_tool_are_found(string? sampler, string? schedule, string? expected, Scheduler? expectedSchedule)
    {
        var settings = Settings(("Sampler", sampler), ("Schedule type", schedule));
        Assert.Equal((expected, expectedSchedule), (settings.Sampler?.Name, settings.ScheduleFor(settings.Sampler)));
    }

    [Fact]
    public void Every_name_that_this_tool_writes_is_found()
    {
        foreach (var sampler in Samplers.All)
        {
            foreach (var schedule in sampler.Schedulers)
            {
                var settings = Settings(
                    ("Sampler", sampler.DisplayName), ("Schedule type", SchedulerNames.DisplayNameOf(schedule)), ("Version", "sdilgpu 1.0.0"));
                Assert.Equal((sampler, schedule), (settings.Sampler, settings.ScheduleFor(settings.Sampler)));
            }
        }
    }

    [Theory]
    [InlineData("a cat, embedding:EasyNegative", "a cat, EasyNegative")]
    [InlineData("(embedding:style/bad-hands-5.pt:1.2),embedding:v1.5", "(bad-hands-5:1.2),v1.5")]
    [InlineData("embedding:sub\\ugly.safetensors (embedding:x)", "ugly (x)")]
    [InlineData("an embedding: of a myembedding:y", "an embedding: of a myembedding:y")]
    public void Embeddings_in_prompts_of_ComfyUI_are_their_names(string theirs, string ours)
    {
        var comfy = new RepeatedSettings("x.png", new PictureSettings(theirs, theirs, [("Version", ComfyUiGraph.Name)]));
        Assert.Equal((ours, ours), (comfy.Prompt, comfy.NegativePrompt));
        Assert.Equal(theirs, new RepeatedSettings("x.png", new PictureSettings(theirs, "", [])).Prompt);
    }

    [Fact]
    public void A_schedule_goes_by_the_sampler_that_will_run()
    {
        var settings = Settings(("Sampler", "Euler a"), ("Schedule type", "Uniform"));
        Assert.Equal(Scheduler.Normal, settings.ScheduleFor(Samplers.Heun));
        Assert.Equal(Scheduler.Discrete, settings.ScheduleFor(Samplers.Lcm));
        Assert.Equal(Scheduler.Discrete, Settings(("Sampler", "Euler a"), ("Schedule type", "Karras")).ScheduleFor(Samplers.Ddim));

        // A tool whose samplers are diffusers'.
        Assert.Equal(Scheduler.Discrete, Settings(("Sampler", "Euler a"), ("Schedule type", "Uniform"), ("Backend", "Diffusers")).ScheduleFor(Samplers.EulerAncestral));
    }

    [Fact]
    public void Numbers_are_read_in_every_tools_form()
    {
        var settings = Settings(("Steps", "20"), ("CFG scale", "7.500000"), ("Seed", "4294967295"), ("Size", "512x768"), ("RNG", "cpu"));
        Assert.Equal(
            (20, 7.5, 4294967295L, 512, 768, NoiseGenerator.Cpu),
            (settings.Steps, settings.GuidanceScale, settings.Seed, settings.Width, settings.Height, settings.NoiseGenerator));
        var none = Settings();
        Assert.Equal((null, null, null, null, null), (none.Steps, none.GuidanceScale, none.Seed, none.Width, none.NoiseGenerator));
    }

    [Fact]
    public void A_seed_that_is_too_large_for_one_here_gives_the_same_noise_of_the_CPU()
    {
        const ulong Large = 0xfedc_ba98_7654_3210;
        var seed = Settings(("Seed", $"{Large}"), ("RNG", "CPU")).Seed!.Value;
        var (noise, same) = (new float[64], new float[64]);
        new MersenneTwisterStream(unchecked((long)Large)).Fill(noise);
        new MersenneTwisterStream(seed).Fill(same);
        Assert.Equal(noise, same);
        Assert.Contains($"{Large}", Assert.Throws<StableDiffusionException>(() => Settings(("Seed", $"{Large}"), ("RNG", "cuda")).Seed).Message, StringComparison.Ordinal);
        Assert.Equal(long.MaxValue, Settings(("Seed", $"{long.MaxValue}"), ("RNG", "CPU")).Seed);
    }

    [Fact]
    public void Other_settings_of_a_request_are_repeated_too()
    {
        var settings = Settings(
            ("Sampler", "DDIM"), ("Eta DDIM", "0.5"), ("Clip skip", "2"), ("Emphasis", "No norm"), ("Tiling", "True"), ("Denoising strength", "0.6"),
            ("Hires upscale", "1.5"), ("Hires steps", "9"), ("Hires upscaler", "Latent (nearest)"));
        Assert.Equal((0.5, 2, PromptWeighting.Plain, true), (settings.Eta, settings.ClipSkip, settings.PromptWeighting, settings.IsCircular));
        Assert.Equal(new HiresOptions { Scale = 1.5, Steps = 9, Upscaler = HiresUpscaler.LatentNearest, DenoisingStrength = 0.6 }, settings.Hires);
        Assert.Empty(settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions()));
        Assert.Null(settings.Strength);
    }

    [Theory]
    [InlineData("euler_a karras", "0.000000", false, null)]
    [InlineData("euler_a", "0.300000", false, 0.3)]
    [InlineData("euler_a discrete", "inf", true, null)]
    [InlineData("euler_a discrete", "0.000000", true, 0.0)]
    [InlineData("tcd lcm", "inf", true, 0.0)]
    [InlineData("tcd", "0.000000", false, 0.0)]
    [InlineData("tcd", "0.300000", false, 0.3)]
    [InlineData("ddim_trailing simple", "inf", true, 0.0)]
    [InlineData("ddim_trailing", "0.300000", false, 0.3)]
    [InlineData("euler", "0.000000", false, null)]
    public void The_eta_of_stable_diffusion_cpp_is_the_one_that_it_drew_with(string sampler, string eta, bool withJson, double? expected) =>
        Assert.Equal(expected, Cpp(withJson ? "{}" : null, ("Sampler", sampler), ("Eta", eta)).Eta);

    [Theory]
    [InlineData("euler_a discrete", "euler_a", Scheduler.Normal)]
    [InlineData("dpm++2m karras", "dpm++2m", Scheduler.Karras)]
    [InlineData("euler", "euler", Scheduler.Normal)]
    [InlineData("lcm lcm", "lcm", Scheduler.Discrete)]
    [InlineData("tcd lcm", "tcd", Scheduler.Discrete)]
    [InlineData("ddim_trailing simple", "ddim_trailing", Scheduler.Discrete)]
    [InlineData("euler simple", "euler", Scheduler.Simple)]
    public void The_schedule_of_stable_diffusion_cpp_is_found(string sampler, string expected, Scheduler? schedule)
    {
        var settings = Cpp("{}", ("Sampler", sampler));
        Assert.Equal((expected, schedule), (settings.Sampler?.Name, settings.ScheduleFor(settings.Sampler)));
    }

    /// <summary>Looked for in front of each space it would take squared time.</summary>
    [Fact]
    public void A_sampler_of_a_million_words_is_unknown() => Assert.Contains(
        "unknown sampler \"a a a", Assert.Throws<StableDiffusionException>(() => Settings(
            ("Sampler", new System.Text.StringBuilder().Insert(0, "a ", 1_000_000).ToString())).Sampler).Message, StringComparison.Ordinal);

    [Fact]
    public void A_schedule_of_stable_diffusion_cpp_that_is_unknown_is_not_called_a_sampler()
    {
        var settings = Cpp("{}", ("Sampler", "euler_a gits"));
        Assert.Equal("euler_a", settings.Sampler!.Name);
        Assert.Contains("unknown schedule \"gits\"", Assert.Throws<StableDiffusionException>(() => settings.ScheduleFor(settings.Sampler)).Message, StringComparison.Ordinal);
    }

    /// <summary>
    /// By hand: 512 x 1.7 is 870.4, of which the web UI makes 864, stable-diffusion.cpp 896 and this tool 872, so that its factor has to be another one; 640 x 1.7 is
    /// 1088, which cpp makes 1088 of too, a multiple of 64. No factor makes 896 of 512 and 1088 of 640.
    /// </summary>
    [Theory]
    [InlineData("v1.10", 512, 512, 1.7, 864, 864)]
    [InlineData("v1.10", 512, 640, 1.7, 864, 1088)]
    [InlineData("v1.10", 512, 768, 1.5, 768, 1152)]
    [InlineData("sdilgpu 0.1.0", 512, 512, 1.7, 872, 872)]
    [InlineData("stable-diffusion.cpp", 512, 512, 1.7, 896, 896)]
    [InlineData("stable-diffusion.cpp", 512, 640, 1.7, 872, 1088)]
    [InlineData("stable-diffusion.cpp", 512, 768, 2.0, 1024, 1536)]
    public void A_second_pass_has_the_size_that_it_had(string version, int width, int height, double scale, int largerWidth, int largerHeight)
    {
        var (upscaler, factor) = version == "stable-diffusion.cpp" ? ("Hires upscale", "Hires scale") : ("Hires upscaler", "Hires upscale");
        var here = Settings(("Size", $"{width}x{height}"), (upscaler, "Latent"), (factor, NumberText.Of(scale)), ("Version", version)).Hires!.Scale;
        Assert.Equal((largerWidth, largerHeight), (8 * (int)Math.Round(width / 8 * here), 8 * (int)Math.Round(height / 8 * here)));
    }

    [Fact]
    public void A_second_pass_and_the_strength_of_stable_diffusion_cpp_are_repeated()
    {
        (string, string?)[] hires =
        [
            ("Hires upscale", "Latent (nearest)"), ("Hires scale", "1.500000"), ("Hires resize", "0x0"), ("Hires steps", "0"), ("Denoising strength", "0.600000"),
        ];
        var settings = Cpp("""{"strength":0.699999988079071}""", hires);
        Assert.Equal(new HiresOptions { Scale = 1.5, Upscaler = HiresUpscaler.LatentNearest, DenoisingStrength = 0.6 }, settings.Hires);
        Assert.Equal(0.7, settings.Strength);
        Assert.Empty(settings.NotRepeated(hasPicture: true, hasMask: false, new ModelAdditions()));

        // A size of its own is no factor.
        hires[2] = ("Hires resize", "96x96");
        settings = Cpp(null, hires);
        Assert.Equal((null, null), (settings.Hires, settings.Strength));
        Assert.Equal(hires.Select(h => h.Item1), settings.NotRepeated(hasPicture: true, hasMask: false, new ModelAdditions()));
        Assert.Null(Cpp("odd", hires).Strength);
        Assert.Null(Cpp("5", hires).Strength);
        Assert.Null(Cpp("""{"\ud800abcdefg":1}""", hires).Strength);
    }

    [Fact]
    public void A_pictures_settings_are_repeated_where_there_is_one()
    {
        (string, string?)[] picture = [("Denoising strength", "0.6"), ("Mask blur", "4"), ("Mask mode", "Inpaint not masked")];
        var settings = Settings(picture);
        Assert.Equal((0.6, 4, true, null), (settings.Strength, settings.MaskBlur, settings.InvertMask, settings.Hires));
        Assert.Equal(["Denoising strength", "Mask blur", "Mask mode"], settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions()));
        Assert.Equal(["Mask blur", "Mask mode"], settings.NotRepeated(hasPicture: true, hasMask: false, new ModelAdditions()));
        Assert.Empty(settings.NotRepeated(hasPicture: true, hasMask: true, new ModelAdditions()));
        Assert.Equal((null, null, null), (Settings().Strength, Settings().MaskBlur, Settings().InvertMask));
        Assert.False(Settings(("Mask mode", "Inpaint masked")).InvertMask);

        var fit = Settings(("Denoising strength", "0.6"), ("Resize mode", "Stretch"), ("Latent", "mean"));
        Assert.Equal((ResizeMode.Stretch, true), (fit.ResizeMode, fit.MeanLatent));
        Assert.Empty(fit.NotRepeated(hasPicture: true, hasMask: false, new ModelAdditions()));
        Assert.Equal(["Denoising strength", "Resize mode", "Latent"], fit.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions()));
        Assert.Equal((null, null), (settings.ResizeMode, settings.MeanLatent));
        Assert.Equal(["Resize mode"], Settings(("Steps", "9"), ("Seed", "1"), ("Resize mode", "By magic")).NotRepeated(hasPicture: true, hasMask: false, new ModelAdditions()));

        // Both passes have a strength then.
        var both = Settings([.. picture, ("Hires upscale", "2"), ("Hires upscaler", "Lanczos"), ("Hires denoising strength", "0.3")]);
        Assert.Equal((0.6, 0.3, HiresUpscaler.Lanczos), (both.Strength, both.Hires?.DenoisingStrength, both.Hires?.Upscaler));
        Assert.Equal(["Denoising strength"], both.NotRepeated(hasPicture: false, hasMask: true, new ModelAdditions()));
    }

    [Fact]
    public void What_cannot_be_used_is_named_when_it_is_asked_for()
    {
        var settings = Settings(
            ("Steps", "many"), ("CFG scale", "7,5"), ("Size", "512"), ("Sampler", "Dice"), ("Schedule type", "Dance"), ("RNG", "std_default"));
        (Func<object?> Ask, string[] Parts)[] asked =
        [
            (() => settings.Steps, ["Steps 'many'"]),
            (() => settings.GuidanceScale, ["CFG scale '7,5'"]),
            (() => settings.Height, ["Size '512'"]),
            (() => settings.Sampler, ["sampler \"Dice\"", .. Samplers.All.Select(s => s.Name)]),
            (() => settings.ScheduleFor(null), ["schedule \"Dance\"", "discrete", "karras"]),
            (() => settings.NoiseGenerator, ["rng \"std_default\"", "cpu", "cuda"]),
        ];
        foreach (var (ask, parts) in asked)
        {
            var e = Assert.Throws<StableDiffusionException>(() => ask());
            Assert.All(parts.Prepend("x.png: "), part => Assert.Contains(part, e.Message, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void LoRAs_that_are_not_given_are_told()
    {
        var settings = Settings(("Steps", "1"), ("Lora hashes", "good one: 0123456789ab, other: ba9876543210"));
        Assert.Equal(["Lora hashes"], settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions()));
        Assert.Equal(["Lora hashes"], settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions { Loras = ["good one"] }));
        Assert.Empty(settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions { Loras = ["other", "good: one"] }));
    }

    [Fact]
    public void Textual_inversions_that_are_not_given_are_told()
    {
        var settings = Settings(("Steps", "1"), ("TI hashes", "bad_hands: 0123456789ab, bad_hands: 0123456789ab"));
        Assert.Equal(["TI hashes"], settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions { Loras = ["bad_hands"] }));
        Assert.Empty(settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions { Embeddings = ["Bad_Hands"] }));
    }

    [Fact]
    public void Another_autoencoder_is_told()
    {
        var other = new ModelAdditions { Vae = new NamedFile("a.ckpt", new("9876543210")) };
        var same = new ModelAdditions { Vae = new NamedFile("b.safetensors", new("0123456789")) };
        var settings = Settings(("Steps", "1"), ("VAE hash", "0123456789"), ("VAE", "a.ckpt"));
        Assert.Equal(["VAE"], settings.NotRepeated(hasPicture: false, hasMask: false, new ModelAdditions()));
        Assert.Equal(["VAE"], settings.NotRepeated(hasPicture: false, hasMask: false, other));
        Assert.Empty(settings.NotRepeated(hasPicture: false, hasMask: false, same));

        // Names alone have to do where there is no hash.
        var named = Settings(("Steps", "1"), ("VAE", "A.ckpt"));
        Assert.Empty(named.NotRepeated(hasPicture: false, hasMask: false, other));
        Assert.Equal(["VAE"], named.NotRepeated(hasPicture: false, hasMask: false, same));

        var small = Settings(("Steps", "1"), ("VAE Decoder", "TAESD"), ("VAE Encoder", "TAESD"));
        Assert.Equal(["VAE Decoder", "VAE Encoder"], small.NotRepeated(hasPicture: true, hasMask: false, other));
        Assert.Empty(small.NotRepeated(hasPicture: true, hasMask: false, new ModelAdditions { HasTaesd = true }));
    }

    [Fact]
    public void The_rest_is_told()
    {
        var settings = Settings(
            ("Steps", "1"), ("Hires upscale", "2"), ("Hires upscaler", "R-ESRGAN 4x+"), ("Model", "m"), ("Model hash", "0123456789"), ("Version", "v1"),
            ("Face restoration", "x"));
        Assert.Equal(["Hires upscale", "Hires upscaler", "Face restoration"], settings.NotRepeated(hasPicture: true, hasMask: true, new ModelAdditions()));
        Assert.Null(settings.Hires);
        Assert.Null(settings.CompareModel("other name", "0123456789"));
        Assert.Contains("'m' (0123456789)", settings.CompareModel("m", "9876543210"), StringComparison.Ordinal);

        // Older hashes are made in another way, so that names have to do.
        Assert.Null(Settings(("Model", "m"), ("Model hash", "01234567")).CompareModel("M", "0123456789"));
        Assert.Contains("'m'", Settings(("Model", "m")).CompareModel("n", null), StringComparison.Ordinal);
        Assert.Null(Settings().CompareModel("n", "0123456789"));
    }

    private static RepeatedSettings Cpp(string? json, params (string Key, string? Value)[] settings) =>
        Settings([.. settings, ("Version", "stable-diffusion.cpp"), ("SDCPP", json)]);

    private static RepeatedSettings Settings(params (string Key, string? Value)[] settings) =>
        new("x.png", new PictureSettings("", "", [.. settings.Where(s => s.Value is not null).Select(s => (s.Key, s.Value!))]));
}
