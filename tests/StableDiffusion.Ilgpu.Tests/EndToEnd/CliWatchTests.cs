using System.Text.Json;
using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>Previews, saved steps, and pictures' settings through the command line, with the bundled model.</summary>
public sealed class CliWatchTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    [Fact]
    public void A_preview_lies_beside_the_output_and_ends_as_the_picture()
    {
        Draw("-p", "cat", "--steps", "5", "--preview", "2", "-o", folder["a.png"]);
        Draw("-p", "cat", "--steps", "5", "-o", folder["b.png"]);
        Assert.Equal(["a.png", "b.png", "preview.png"], folder.Entries);
        Assert.Equal(File.ReadAllBytes(folder["b.png"]), File.ReadAllBytes(folder["a.png"]));
        Assert.Equal(PngFile.Read(folder["a.png"]).Pixels, PngFile.Read(folder["preview.png"]).Pixels);
    }

    [Theory]
    [InlineData("--preview", "vae", "--preview-interval", "2")]
    [InlineData("--preview", "2", "--preview-method", "proj")]
    [InlineData("--preview", "2")]
    public void Previews_take_a_path_and_stable_diffusion_cpps_forms(params string[] arguments)
    {
        Draw(["-p", "cat", "--steps", "3", "-o", folder["a.png"], "--preview-path", folder["p.png"], .. arguments]);
        Assert.Equal(["a.png", "p.png"], folder.Entries);
    }

    [Fact]
    public void Preview_none_is_none()
    {
        Draw("-p", "cat", "--steps", "3", "-o", folder["a.png"], "--preview", "none");
        Assert.Equal(["a.png"], folder.Entries);
    }

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    public void Saved_steps_run_from_noise_to_the_picture_for_each_of_a_batch(string together)
    {
        Draw("-p", "cat", "--steps", "5", "-b", "2", "--batch-size", together, "-o", folder["a.png"], "--save-steps", folder["s.png"], "--save-steps-every", "2");
        Assert.Equal(["a_0.png", "a_1.png", "s_0.png", "s_1.png"], folder.Entries);
        for (var i = 0; i < 2; i++)
        {
            // Before steps 0, 2 and 4, and the picture.
            var (picture, strip) = (PngFile.Read(folder[$"a_{i}.png"]), PngFile.Read(folder[$"s_{i}.png"]));
            Assert.Equal((4 * picture.Width, picture.Height), (strip.Width, strip.Height));
            Assert.Equal(picture.Text("parameters"), strip.Text("parameters"));
            for (var y = 0; y < picture.Height; y++)
            {
                Assert.Equal(
                    picture.Pixels.AsSpan(3 * picture.Width * y, 3 * picture.Width),
                    strip.Pixels.AsSpan(3 * ((strip.Width * y) + (3 * picture.Width)), 3 * picture.Width));
            }
        }
    }

    [Theory]
    [InlineData(".apng")]
    [InlineData(".webp")]
    public void Saved_steps_may_be_an_animation(string extension)
    {
        Draw("-p", "cat", "--steps", "2", "-o", folder["a.png"], "--save-steps", folder["s" + extension]);
        Assert.Equal(["a.png", "s" + extension], folder.Entries);
    }

    [Fact]
    public void A_preview_whose_name_differs_in_case_alone_may_be_the_same_file()
    {
        string[] arguments = ["txt2img", "-p", "cat", "--steps", "2", "-o", folder["a.png"], "--preview", "1", "--preview-path", folder["A.PNG"]];
        var run = CliRun.InProcess(arguments);
        if (OperatingSystem.IsWindows() || OperatingSystem.IsMacOS())
        {
            run.AssertFailed(1, [folder["A.PNG"], "would be written over"]);
        }
        else
        {
            Assert.Equal((0, ""), (run.Exit, run.Error));
            Assert.Equal(["A.PNG", "a.png"], folder.Entries);
        }
    }

    /// <summary>Arguments, the exit code, and what the line must contain.</summary>
    public static TheoryData<string[], int, string[]> BadInput => new()
    {
        { ["--preview", "wow"], 2, ["\"wow\"", "proj", "tae", "vae"] },
        { ["--preview", "0"], 2, ["--preview 0", "1 or more"] },
        { ["--preview", "2", "--preview-interval", "3"], 1, ["--preview 2", "--preview-interval 3"] },
        { ["--preview", "vae", "--preview-interval", "0"], 1, ["--preview-interval 0"] },
        { ["--preview-path", "x.png"], 2, ["'--preview-path' has no effect without '--preview'"] },
        { ["--preview-method", "vae"], 2, ["'--preview-method' has no effect without '--preview'"] },
        { ["--preview-interval", "2"], 2, ["'--preview-interval' has no effect without '--preview'"] },
        { ["--taesd-preview-only"], 2, ["'--taesd-preview-only' has no effect without '--taesd'"] },
        { ["--preview", "1", "--preview-path", "/no/such/x.png"], 1, ["/no/such/x.png"] },
        { ["--preview", "1", "--preview-path", "x.jpg"], 1, ["x.jpg", ".png"] },
        { ["--preview", "tae"], 1, ["tae", "--taesd"] },
        { ["--save-steps", "x.gif"], 1, ["x.gif", ".png", ".apng", ".webp"] },
        { ["--save-steps", "/no/such/x.webp"], 1, ["/no/such/x.webp"] },
        { ["--save-steps", "x.png", "--save-steps-every", "0"], 1, ["--save-steps-every 0"] },
        { ["--save-steps-every", "2"], 2, ["'--save-steps-every' has no effect without '--save-steps'"] },
        { ["--from", "/no/such.png"], 1, ["/no/such.png"] },
    };

    [Theory]
    [MemberData(nameof(BadInput))]
    public void Bad_input_gives_one_clear_line_and_no_file(string[] arguments, int exit, string[] parts)
    {
        CliRun.InProcess(["txt2img", "-p", "x", "--steps", "900", "-o", folder["a.png"], .. arguments]).AssertFailed(exit, parts);
        Assert.Empty(folder.Entries);
    }

    [Fact]
    public void A_pictures_settings_are_repeated_to_the_byte()
    {
        Draw(
            "-p", "a cat\nNegative prompt: not that\nSteps: 1, Seed: 2, Size: 3x3", "-n", "dark: \"x\",\nNegative prompt: y", "--steps", "3", "-s", "77",
            "--cfg-scale", "5.5", "-W", "72", "--sampling-method", "dpm++2m_sde", "--scheduler", "karras", "--rng", "cpu", "--eta", "0.5", "--clip-skip", "2", "--circular", "--prompt-weighting", "none", "--hires",
            "--hires-scale", "1.25", "-o", folder["a.png"]);
        Draw("--from", folder["a.png"], "-o", folder["b.png"]);
        Assert.Equal(File.ReadAllBytes(folder["a.png"]), File.ReadAllBytes(folder["b.png"]));

        // What is given wins.
        Draw("--from", folder["a.png"], "-o", folder["c.png"], "-s", "78", "--sampling-method", "euler", "-p", "a dog");
        var changed = PictureSettings.Read(folder["c.png"]);
        Assert.Equal(
            ("a dog", "dark: \"x\",\nNegative prompt: y", "Euler", "78", "72x64", "5.5"),
            (changed.Prompt, changed.NegativePrompt, changed["Sampler"], changed["Seed"], changed["Size"], changed["CFG scale"]));
    }

    /// <summary>The command has no culture; programs with the library may have any.</summary>
    [Fact]
    public void A_decimal_comma_changes_nothing()
    {
        string[] arguments = ["-p", "a (cat:1.25)", "--steps", "2", "--cfg-scale", "5.5", "--eta", "0.5", "--hires", "--hires-scale", "1.25", "-o"];
        Draw([.. arguments, folder["a.png"]]);
        using (new OtherCulture())
        {
            Draw([.. arguments, folder["b.png"]]);
        }

        Assert.Equal(File.ReadAllBytes(folder["a.png"]), File.ReadAllBytes(folder["b.png"]));
    }

    [Theory]
    [InlineData("--preview", "1", "--preview-path")]
    [InlineData("--save-steps")]
    public void A_picture_that_is_repeated_is_not_written_over_on_the_way(params string[] options)
    {
        var theirs = WithText("a cat\nSteps: 2, Sampler: Euler, Seed: 5, Size: 64x64");
        var before = File.ReadAllBytes(theirs);
        CliRun.InProcess(["txt2img", "--from", theirs, "-o", folder["b.png"], .. options, theirs]).AssertFailed(1, [theirs, "would be written over"]);
        Assert.Equal(before, File.ReadAllBytes(theirs));
    }

    /// <summary>What is written to a link goes where it points to.</summary>
    [Fact]
    public void A_preview_that_is_a_link_to_what_is_read_is_refused()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "links need rights there");
        var theirs = WithText("a cat\nSteps: 2, Sampler: Euler, Seed: 5, Size: 64x64");
        File.CreateSymbolicLink(folder["link.png"], theirs);
        CliRun.InProcess("txt2img", "--from", theirs, "-o", folder["b.png"], "--save-steps", folder["link.png"])
            .AssertFailed(1, [folder["link.png"], "would be written over"]);
        CliRun.InProcess("txt2img", "--from", folder["link.png"], "-o", folder["b.png"], "--save-steps", theirs)
            .AssertFailed(1, [theirs, "would be written over"]);
    }

    /// <summary>Options of the second pass count without <c>--hires</c> where the picture has one, each by itself.</summary>
    [Fact]
    public void What_is_given_wins_in_a_repeated_second_pass()
    {
        Draw(
            "-p", "a cat", "--steps", "2", "--hires", "--hires-scale", "1.5", "--hires-steps", "3", "--hires-denoising-strength", "0.6", "--hires-upscaler",
            "lanczos", "-o", folder["a.png"]);
        foreach (var arguments in new string[][] { ["--hires-steps", "1", "--hires-denoising-strength", "0.5"], ["--hires", "--hires-scale", "2"] })
        {
            Draw(["--from", folder["a.png"], "-o", folder["b.png"], .. arguments]);
            var (given, repeated) = (arguments.Contains("--hires-steps"), PictureSettings.Read(folder["b.png"]));
            Assert.Equal(
                given ? ("1.5", "1", "0.5", "Lanczos") : ("2", "3", "0.6", "Lanczos"),
                (repeated["Hires upscale"], repeated["Hires steps"], repeated["Denoising strength"], repeated["Hires upscaler"]));
        }
    }

    [Fact]
    public void What_a_repeated_picture_has_can_be_left_out()
    {
        Draw("-p", "a cat", "--steps", "1", "--circular", "--hires", "-o", folder["a.png"]);
        Draw("--from", folder["a.png"], "-o", folder["b.png"], "--hires", "false", "--circular=false");
        var repeated = PictureSettings.Read(folder["b.png"]);
        Assert.Equal((null, null, null), (repeated["Tiling"], repeated["Hires upscale"], repeated["Denoising strength"]));
        Assert.Equal(64, PngFile.Read(folder["b.png"]).Width);
    }

    [Fact]
    public void Another_tools_picture_is_repeated_with_what_differs_told()
    {
        var theirs = WithText(
            "a cat\nSteps: 2, CFG scale: 7.000000, Seed: 5, Size: 64x64, Model: v1-5, Sampler: euler karras, Eta: 0.000000, Restore: 2, Version: stable-diffusion.cpp");
        var run = CliRun.InProcess("txt2img", "--from", theirs, "-o", folder["b.png"]);
        Assert.Equal((0, "", 3), (run.Exit, run.Error, run.Lines.Length));
        Assert.Contains("'v1-5'; this is 'demo'", run.Lines[0], StringComparison.Ordinal);
        Assert.Equal("not repeated: Restore", run.Lines[1]);
        Assert.StartsWith(
            "a cat\nSteps: 2, Sampler: Euler, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 64x64", PngFile.Read(folder["b.png"]).Text("parameters"),
            StringComparison.Ordinal);

        // An unknown sampler is an error, unless another one is given.
        var unknown = WithText("a cat\nSteps: 2, Sampler: Dice, Seed: 5, Size: 64x64");
        CliRun.InProcess("txt2img", "--from", unknown, "-o", folder["c.png"]).AssertFailed(1, ["\"Dice\"", .. Samplers.All.Select(s => s.Name)]);
        Draw("--from", unknown, "-o", folder["c.png"], "--sampling-method", "euler");
        foreach (var settings in new[] { "Sampler: Dice karras, Version: stable-diffusion.cpp", "Sampler: Dice, Schedule type: Automatic" })
        {
            Draw("--from", WithText($"a cat\nSteps: 2, Seed: 5, Size: 64x64, {settings}"), "-o", folder["c.png"], "--sampling-method", "euler");
        }
    }

    [Fact]
    public void A_negative_seed_of_a_picture_is_its_seed_and_that_of_the_command_line_a_random_one()
    {
        var theirs = WithText("a cat\nSteps: 1, Sampler: Euler, Seed: -5, Size: 64x64");
        Draw("--from", theirs, "-o", folder["b.png"]);
        Assert.Equal("-5", PictureSettings.Read(folder["b.png"])["Seed"]);
        Draw("--from", theirs, "-o", folder["b.png"], "-s", "-5");
        Assert.DoesNotContain('-', PictureSettings.Read(folder["b.png"])["Seed"]!);
    }

    [Fact]
    public void Metadata_prints_text_and_json()
    {
        var file = WithText("a \"cat\"\nNegative prompt: dark\nSteps: 2, Sampler: Euler a, Odd key: \"a, b\", Version: v1.10");
        Assert.Equal(
            "written by: AUTOMATIC1111\nprompt: a \"cat\"\nnegative prompt: dark\nSteps: 2\nSampler: Euler a\nOdd key: a, b\nVersion: v1.10\n",
            Metadata(file).Output.ReplaceLineEndings("\n"));
        foreach (var arguments in new string[][] { [file, "--json"], [file, "--metadata-format", "json"] })
        {
            var json = JsonSerializer.Deserialize<JsonElement>(Metadata(arguments).Output);
            Assert.Equal("a \"cat\"", json.GetProperty("prompt").GetString());
            Assert.Equal("dark", json.GetProperty("negative_prompt").GetString());
            Assert.Equal("a, b", json.GetProperty("settings").GetProperty("Odd key").GetString());
        }

        File.WriteAllBytes(folder["none.png"], PngWriter.Encode(8, 8, new byte[192], ""));
        CliRun.InProcess("metadata", folder["none.png"]).AssertFailed(1, ["none.png", "carries no settings"]);
        CliRun.InProcess("metadata", "/no/such.png").AssertFailed(1, ["/no/such.png"]);
        CliRun.InProcess("metadata").AssertFailed(2, ["image"]);
        CliRun.InProcess("metadata", file, "--metadata-format", "xml").AssertFailed(2, ["\"xml\"", "text, json"]);
    }

    [Fact]
    public void A_picture_of_many_settings_does_not_fill_the_terminal()
    {
        var keys = string.Join(", ", Enumerable.Range(0, 10_000).Select(i => $"Key {i}: 7"));
        var run = CliRun.InProcess("txt2img", "--from", WithText($"a\nSteps: 1, Sampler: Euler, Seed: 1, Size: 64x64, {keys}"), "-o", folder["many.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.StartsWith("not repeated: Key 0, Key 1, ", run.Lines[0], StringComparison.Ordinal);
        Assert.InRange(run.Lines[0].Length, 1000, 20_000);
    }

    /// <summary>Escape sequences, a carriage return over what stands there, an override of the direction, lines that look like the program's.</summary>
    [Fact]
    public void Metadata_of_a_foreign_picture_do_not_steer_the_terminal()
    {
        var file = WithText(
            "a \e[2Jcat\u009b31m\u202e gnp\nin a hat\nNegative prompt: da\rrk\nSteps: 2, Sampler: \"x\\u001b[2J\\nerror: y\", Seed: 1, CFG\e scale: 7");
        Assert.Equal(
            "written by: AUTOMATIC1111\nprompt: a  [2Jcat 31m  gnp\nin a hat\nnegative prompt: da rk\nSteps: 2\nSampler: x [2J error: y\nSeed: 1\nscale: 7\n",
            Metadata(file).Output.ReplaceLineEndings("\n"));

        // JSON is exact, by escapes.
        var output = Metadata(file, "--json").Output;
        Assert.DoesNotContain(output.ReplaceLineEndings("\n"), c => c != '\n' && (char.IsControl(c) || c == '\u202e'));
        var json = JsonSerializer.Deserialize<JsonElement>(output);
        Assert.Equal("a \e[2Jcat\u009b31m\u202e gnp\nin a hat", json.GetProperty("prompt").GetString());
        Assert.Equal("x\e[2J\nerror: y", json.GetProperty("settings").GetProperty("Sampler").GetString());

        var error = CliRun.InProcess("txt2img", "--from", WithText("a\nSteps: 2, Sampler: \u202e\e[2J, Seed: 1"), "-o", folder["x.png"]);
        error.AssertFailed(1, ["unknown sampler \"  [2J\""]);
    }

    public void Dispose() => folder.Dispose();

    private static CliRun Metadata(params string[] arguments)
    {
        var run = CliRun.InProcess(["metadata", .. arguments]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        return run;
    }

    private static void Draw(params string[] arguments)
    {
        var run = CliRun.InProcess(["txt2img", .. arguments]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
    }

    private string WithText(string parameters)
    {
        var file = folder[$"{Guid.NewGuid():N}.png"];
        PngWriter.Write(file, 8, 8, new byte[192], parameters);
        return file;
    }
}
