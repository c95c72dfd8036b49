using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What a run takes from a picture and a mask, with an encoder that gives zeros.</summary>
public sealed class PictureStartTests
{
    private const int Rows = 2;

    /// <summary>The UNet reads a mask of 0 and 1, and the picture without what is painted, however grey the mask is.</summary>
    [Fact]
    public void An_inpainting_model_gets_a_hard_mask()
    {
        using var model = TinyModels.Load("tiny-inpaint");
        var seen = new List<float[]>();
        var run = Start(model, x => x < Side(model) / 2 ? 0.4f : 0.5f, firstStep: 1, hasVariance: false, seen).Apply(Run(model));
        Assert.Equal([0, 1, 0, 1], run.Conditions![..(Rows * Rows)]);
        Assert.Equal(2, seen.Count);
        Assert.All(seen[1].Index(), v => Assert.Equal(v.Index / 3 % Side(model) < Side(model) / 2 ? 1 : 0, v.Item));
    }

    /// <summary>With a mask the whole strength begins with noise alone, as in diffusers; without one with the picture under noise.</summary>
    [Theory]
    [InlineData(false, 0, true)]
    [InlineData(true, 0, false)]
    [InlineData(true, 1, true)]
    public void The_picture_is_begun_with_unless_a_mask_has_the_whole_strength(bool hasMask, int firstStep, bool fromPicture)
    {
        using var model = TinyModels.Load("tiny-sd15");
        var run = Start(model, hasMask ? _ => 1 : null, firstStep, hasVariance: false, []).Apply(Run(model));
        Assert.Equal(fromPicture, run.Start is not null);
    }

    /// <summary>The noise of the start is drawn before that of the latent which stays.</summary>
    [Fact]
    public void A_second_pass_draws_the_noise_of_its_start_first()
    {
        using var model = TinyModels.Load("tiny-sd15");
        var run = Start(model, _ => 1, firstStep: 1, hasVariance: true, []).Keep(Run(model));
        Assert.All(run.StartNoise!, v => Assert.Equal(1, v));
        Assert.All(run.Blend!.Known, v => Assert.Equal(2, v));
    }

    private static int Side(LoadedModel model) => Rows * model.VaeConfig.PixelsPerLatent;

    /// <summary>Of a white picture.</summary>
    private static PictureStart Start(LoadedModel model, Func<int, float>? mask, int firstStep, bool hasVariance, List<float[]> seen)
    {
        var (side, count) = (Side(model), model.VaeConfig.LatentChannels * Rows * Rows);
        return PictureStart.Create(
            picture =>
            {
                seen.Add(picture);
                return new PictureLatent(new float[hasVariance ? 2 * count : count], count, 1);
            },
            model, [.. Enumerable.Repeat(1f, 3 * side * side)], mask is null ? null : [.. Enumerable.Range(0, side * side).Select(i => mask(i % side))], side, side,
            firstStep, meanLatent: false);
    }

    /// <summary>Each draw gives its own number.</summary>
    private static SamplingRun Run(LoadedModel model)
    {
        var draws = 0;
        return new SamplingRun
        {
            Context = new StepContexts([0]),
            Guidance = null,
            Height = Rows,
            Width = Rows,
            Plan = Samplers.Euler.Plan(model.Schedule, 2, Scheduler.Discrete),
            Draw = () =>
            {
                draws++;
                return [.. Enumerable.Repeat((float)draws, model.VaeConfig.LatentChannels * Rows * Rows)];
            },
        };
    }
}
