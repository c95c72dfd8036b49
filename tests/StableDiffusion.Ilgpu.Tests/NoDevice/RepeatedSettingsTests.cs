using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Sampling.Noise;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Other tools' names in the terms of a request.</summary>
public sealed class RepeatedSettingsTests
{
    [Theory]
    [InlineData("Euler a", null, "euler_a", null)]
    [InlineData("DPM++ 2M", "Karras", "dpm++2m", Scheduler.Karras)]
    [InlineData("DPM++ 2M Karras", null, "dpm++2m", Scheduler.Karras)]
    [InlineData("euler_a karras", null, "euler_a", Scheduler.Karras)]
    [InlineData("euler_ancestral", "normal", "euler_a", Scheduler.Discrete)]
    [InlineData("dpmpp_2m", "karras", "dpm++2m", Scheduler.Karras)]
    [InlineData("DDIM", "Automatic", "ddim", Scheduler.Discrete)]
    [InlineData("Euler a", "Automatic", "euler_a", Scheduler.Discrete)]
    [InlineData("DPM++ 2M", "Automatic", "dpm++2m", Scheduler.Karras)]
    [InlineData("DPM++ 2M SDE", "Automatic", "dpm++2m_sde", Scheduler.Exponential)]
    [InlineData("DPM++ 2M", "Normal", "dpm++2m", Scheduler.Discrete)]
    [InlineData("DPM++ 2M", null, "dpm++2m", null)]
    [InlineData("PLMS", "Uniform", "pndm", Scheduler.Discrete)]
    [InlineData(null, null, null, null)]
    public void Samplers_and_schedules_of_every_tool_are_found(string? sampler, string? schedule, string? expected, Scheduler? expectedSchedule)
    {
        var settings = Settings(("Sampler", sampler), ("Schedule type", schedule));
        Assert.Equal((expected, expectedSchedule), (settings.Sampler?.Name, settings.Scheduler));
    }

    [Fact]
    public void Every_name_that_this_tool_writes_is_found()
    {
        foreach (var sampler in Samplers.All)
        {
            foreach (var schedule in sampler.Schedulers)
            {
                var settings = Settings(("Sampler", sampler.DisplayName), ("Schedule type", SchedulerNames.DisplayNameOf(schedule)));
                Assert.Equal((sampler, schedule), (settings.Sampler, settings.Scheduler));
            }
        }
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

        // stable-diffusion.cpp writes an eta for samplers that do not look at it.
        (string, string?) version = ("Version", "stable-diffusion.cpp");
        Assert.Null(Settings(("Sampler", "euler"), ("Eta", "0.000000"), version).Eta);
        Assert.Equal(0.3, Settings(("Sampler", "tcd"), ("Eta", "0.300000"), version).Eta);
        Assert.Equal(0.3, Settings(("Sampler", "ddim_trailing"), ("Eta", "0.300000"), version).Eta);
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
            (() => settings.Scheduler, ["schedule \"Dance\"", "discrete", "karras"]),
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

    private static RepeatedSettings Settings(params (string Key, string? Value)[] settings) =>
        new("x.png", new PictureSettings("", "", [.. settings.Where(s => s.Value is not null).Select(s => (s.Key, s.Value!))]));
}
